"""A board on the web: its page, the same as JSON, a counter for submissions. What happens behind is in `submissions`.

Readers get bytes that lie ready; nothing that a submission needs is done while they wait.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException as WebException
from starlette.requests import ClientDisconnect

from superbench.__version__ import __version__
from superbench.board.board import Board
from superbench.board.server import api_page
from superbench.board.server.answers import BODY, REFUSALS, Health, Problem, State, Withdrawn
from superbench.board.server.fairness import Limits, TooOften
from superbench.board.server.headers import HEADERS, AddSecurityHeaders
from superbench.board.server.submissions import Document, SubmissionQueue
from superbench.board.storage.incoming import Submission
from superbench.errors import CommandError, Malformed, Refusal, SuperbenchError, TooLarge, TooSlow

log = logging.getLogger("superbench.board")

PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="`superbench token BOARD --name YOU` makes one")),
]


def application(board: Board, limits: Limits | None = None) -> FastAPI:
    """The web application of a board."""
    queue = SubmissionQueue(board, limits or Limits())

    @contextlib.asynccontextmanager
    async def living(_: FastAPI) -> AsyncIterator[None]:
        await queue.open()
        yield
        await queue.close()

    app = FastAPI(
        title="superbench board", version=__version__, lifespan=living, docs_url=None, redoc_url=None,
        description="Scores are computed again from the predictions of every submission before it counts.",
    )  # fmt: skip
    app.add_middleware(AddSecurityHeaders)
    _answer_errors(app)
    _reading(app, queue)
    _submitting(app, queue)
    _keeping(app, queue)
    return app


# ---------------------------------------------------------------- reading


def _reading(app: FastAPI, queue: SubmissionQueue) -> None:
    @app.get("/", response_class=HTMLResponse, summary="The board's page", tags=["read"])
    async def page(request: Request) -> Response:
        return _sent(request, queue.page, "text/html; charset=utf-8", {"Content-Security-Policy": PAGE_POLICY})

    @app.get("/api/board", summary="Everything that the page shows", tags=["read"], response_model=dict[str, Any])
    async def table(request: Request) -> Response:
        return _sent(request, queue.table, "application/json", {})

    @app.get("/api/models", summary="The names of all models, by table", tags=["read"])
    async def models() -> dict[str, list[str]]:
        return {group["key"]: [row["name"] for row in group["rows"]] for group in queue.contents["groups"]}

    missing: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such model"}}

    @app.get("/api/models/{name:path}", summary="One model's rows in every table", tags=["read"], responses=missing)
    async def model(name: str) -> list[dict[str, Any]]:
        """A name may stand in several tables, and may have slashes in it."""
        rows = [
            {"group": group["key"], "protocol": group.get("protocol", ""), **row}
            for group in queue.contents["groups"] for row in group["rows"] if row["name"] == name
        ]  # fmt: skip
        if not rows:
            raise HTTPException(404, f"No model on this board has the name {name[:200]!r}. GET /api/models lists all.")
        return rows

    @app.get("/healthz", summary="Is the server there?", tags=["read"])
    async def health() -> Health:
        groups = [group for group in queue.contents["groups"] if not group["official"]]
        names = {row["name"] for group in groups for row in group["rows"]}
        return Health(models=len(names), waiting=sum(one.pending for one in queue.submissions.values()))

    @app.get("/docs", response_class=HTMLResponse, summary="This description, to read", tags=["read"])
    async def docs() -> Response:
        return HTMLResponse(api_page.render(app.openapi()), headers={"Content-Security-Policy": PAGE_POLICY})


def _sent(request: Request, document: Document, kind: str, more: dict[str, str]) -> Response:
    headers = {**more, "ETag": document.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if document.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(document.packed, media_type=kind, headers={**headers, "Content-Encoding": "gzip"})
    return Response(document.data, media_type=kind, headers=headers)


# ---------------------------------------------------------------- submitting


def _submitting(app: FastAPI, queue: SubmissionQueue) -> None:
    async def owner(given: Credentials) -> str:
        return await queue.owner(given.credentials if given else None)

    Owner = Annotated[str, Depends(owner)]  # noqa: N806 -- a type

    @app.post(
        "/api/submissions", status_code=202, summary="Submit a bundle", tags=["submit"], responses=REFUSALS, openapi_extra=BODY,
        response_model=State, description="The bundle is checked at once, then waits to be scored; `Location` has its state.",
    )  # fmt: skip
    async def submit(request: Request, response: Response, by: Owner) -> dict[str, Any]:
        """Every refusal is logged with the name of the token."""
        with queue.uploading(by):
            upload = queue.temporary()
            try:
                await _receive(request, upload, queue.limits)
                new = await queue.enter(upload, by)
            except Refusal as error:
                await queue.refuse("upload", error, by)
                raise
            finally:
                upload.unlink(missing_ok=True)
        response.headers["Location"] = f"/api/submissions/{new.id}"
        return new.public()

    @app.get("/api/submissions", summary="Your submissions, newest first", tags=["submit"], responses={401: REFUSALS[401]})
    async def own(by: Owner) -> list[State]:
        await queue.look()
        return [_state(one) for one in sorted(queue.submissions.values(), key=lambda it: it.id)[::-1] if one.by == by]

    missing: dict[int | str, dict[str, Any]] = {401: REFUSALS[401], 404: {"model": Problem, "description": "None of yours"}}

    @app.get("/api/submissions/{identity}", summary="What became of a submission", tags=["submit"], responses=missing)
    async def state(identity: str, by: Owner) -> State:
        found = await queue.find(identity)
        if found is None or found.by != by:
            raise HTTPException(404, "You have no submission of this id. GET /api/submissions lists yours.")
        return _state(found)


async def _receive(request: Request, upload: Path, limits: Limits) -> None:
    """The body into a file; raises `TooLarge`, `Malformed` for one that broke off, `TooSlow`."""
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
    large = TooLarge(
        f"The upload is larger than this board takes ({limits.bytes / 1e6:.0f} MB). Submit fewer tasks at once.", "large"
    )
    if announced is not None and announced > limits.bytes:
        raise large
    size, chunks = 0, request.stream()
    try:
        with upload.open("wb") as file:
            async with asyncio.timeout(limits.upload_seconds(limits.bytes if announced is None else announced)):
                while (chunk := await asyncio.wait_for(anext(chunks, None), limits.chunk_seconds)) is not None:
                    size += len(chunk)
                    if size > limits.bytes:
                        raise large
                    file.write(chunk)
    except TimeoutError as error:
        raise TooSlow(f"The upload was too slow: {size} bytes came. Submit it again.", "slow") from error
    except ClientDisconnect as error:
        raise Malformed("The upload broke off. Submit it again.", "cut") from error
    if announced is not None and size != announced:
        raise Malformed(f"The upload broke off: {size} of {announced} bytes came. Submit it again.", "cut")


# ---------------------------------------------------------------- keeping


def _keeping(app: FastAPI, queue: SubmissionQueue) -> None:
    @app.delete(
        "/api/models/{name:path}", summary="Take a row off the board", tags=["keep"],
        responses={
            401: REFUSALS[401], 403: {"model": Problem, "description": "Not an admin's token"},
            404: {"model": Problem, "description": "No such model"},
        },
        description="For a token that `superbench token BOARD --admin` made. By the model's name, or a bundle's digest.",
    )  # fmt: skip
    async def withdraw(name: str, given: Credentials, because: str = "") -> Withdrawn:
        try:
            digests = await queue.withdraw(name, given.credentials if given else None, because[:1000])
        except CommandError as error:
            raise HTTPException(404, str(error)) from error
        return Withdrawn(bundles=digests)


def _state(one: Submission) -> State:
    return State.model_validate(one.public() | {"tasks": list(one.tasks)})


# ---------------------------------------------------------------- errors


def _answer_errors(app: FastAPI) -> None:
    """Every error is a `Problem`, whoever raises it."""

    def problem(status: int, code: str, reason: str, headers: dict[str, str] | None = None) -> Response:
        body = Problem(code=code, reason=reason).model_dump()
        return JSONResponse(body, status, {**HEADERS, **(headers or {})})

    @app.exception_handler(Refusal)
    async def refused(_: Request, error: Refusal) -> Response:
        headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
        if isinstance(error, TooSlow):
            headers["Connection"] = "close"
        if isinstance(error, TooOften):
            headers["Retry-After"] = str(error.after)
        return problem(error.status, error.code, str(error), headers)

    @app.exception_handler(SuperbenchError)
    @app.exception_handler(OSError)
    async def unable(_: Request, error: Exception) -> Response:
        log.error("%s", error)  # with its paths and addresses, which are nobody else's business
        return problem(503, "unavailable", "The board cannot be used now. Try again in a minute.", {"Retry-After": "60"})

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        return problem(500, "broken", "The server made a mistake; its keeper finds it in the log.")

    @app.exception_handler(RequestValidationError)
    async def odd(_: Request, error: RequestValidationError) -> Response:
        return problem(
            422, "request", "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())[:2000]
        )

    @app.exception_handler(WebException)
    async def unknown(_: Request, error: WebException) -> Response:
        code = {404: "unknown", 405: "method"}.get(error.status_code, "request")
        return problem(error.status_code, code, str(error.detail), dict(error.headers or {}))
