"""The web application of a board: its page, its data as JSON, and the API for submissions (the queue is in `submissions`).

Readers get bytes that are prepared in advance. They never wait for the scoring of a submission.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException as WebException
from starlette.requests import ClientDisconnect

from superbench.__version__ import __version__
from superbench.board.board import Board
from superbench.board.server import api_page
from superbench.board.server.access import challenge, secret_of
from superbench.board.server.answers import BODY, REFUSALS, Health, Problem, State
from superbench.board.server.changing import NO_MODEL, Credentials, add_changing
from superbench.board.server.drawn_page import Document, View
from superbench.board.server.fairness import Limits, TooOften
from superbench.board.server.headers import HEADERS, AddSecurityHeaders
from superbench.board.server.submissions import SubmissionQueue
from superbench.board.storage.incoming import Submission
from superbench.errors import Malformed, Refusal, SuperbenchError, TooLarge, TooSlow, shortened

log = logging.getLogger("superbench.board")

PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def application(board: Board, limits: Limits | None = None, *, private: bool = False) -> FastAPI:
    """Returns the web application of a board; on a `private` one, reading needs a token too."""
    queue = SubmissionQueue(board, limits or Limits())

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await queue.open()
        yield
        await queue.close()

    app = FastAPI(
        title="superbench board", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        description="Scores are computed again from the predictions of every submission before it counts.",
    )  # fmt: skip
    app.add_middleware(AddSecurityHeaders)
    _answer_errors(app)
    _add_reading(app, queue, private)
    _add_submitting(app, queue)
    add_changing(app, queue)
    return app


# ---------------------------------------------------------------- reading


def _add_reading(app: FastAPI, queue: SubmissionQueue, private: bool) -> None:
    async def view(request: Request) -> View:
        """Members, who send a token, also see the rows that are hidden from others."""
        secret = secret_of(request)
        if secret is None and not private:
            return queue.shown.public
        await queue.member(secret)
        return queue.shown.members

    Seen = Annotated[View, Depends(view)]  # noqa: N806 -- a type

    @app.get("/", response_class=HTMLResponse, summary="The board's page", tags=["read"])
    async def page(request: Request, seen: Seen) -> Response:
        return _response(request, seen.page, "text/html; charset=utf-8", {"Content-Security-Policy": PAGE_POLICY})

    @app.get("/members", response_class=HTMLResponse, summary="The page with the rows that only members see", tags=["read"])
    async def members(request: Request) -> Response:
        """A browser asks for a name and a password: any name, and the token."""
        await queue.member(secret_of(request))
        document = queue.shown.members.page
        return _response(request, document, "text/html; charset=utf-8", {"Content-Security-Policy": PAGE_POLICY})

    @app.get("/api/board", summary="Everything that the page shows", tags=["read"], response_model=dict[str, Any])
    async def table(request: Request, seen: Seen) -> Response:
        return _response(request, seen.table, "application/json", {})

    @app.get("/healthz", summary="State of the server", tags=["read"])
    async def health() -> Health:
        tables = (table for table in _tables(queue.shown.public.contents) if not table.get("official"))
        names = {row["name"] for table in tables for row in table["rows"]}
        waiting = sum(submission.pending for submission in queue.submissions.values())
        return Health(models=None if private else len(names), waiting=waiting)

    @app.get("/docs", response_class=HTMLResponse, summary="This description as a page", tags=["read"])
    async def docs() -> Response:
        return HTMLResponse(api_page.render(app.openapi()), headers={"Content-Security-Policy": PAGE_POLICY})

    _add_models(app, Seen)


def _add_models(app: FastAPI, Seen: Any) -> None:  # noqa: N803 -- a type
    @app.get("/api/models", summary="The names of all models, by table", tags=["read"])
    async def models(seen: Seen) -> dict[str, list[str]]:
        return {table["key"]: [row["name"] for row in table["rows"]] for table in _tables(seen.contents)}

    missing: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "No such model"}}

    @app.get("/api/models/{name:path}", summary="One model's rows in every table", tags=["read"], responses=missing)
    async def model(name: str, seen: Seen) -> list[dict[str, Any]]:
        """A name may occur in several tables, and may contain slashes. If nothing was trained, `shots` has the cells by K."""
        rows = [
            {"group": table["key"], "protocol": table.get("protocol", ""), **row, **_at_each_k(table, index)}
            for table in _tables(seen.contents) for index, row in enumerate(table["rows"]) if row["name"] == name
        ]  # fmt: skip
        if not rows:
            raise HTTPException(404, NO_MODEL.format(shortened(name, 200)))
        return rows


def _response(request: Request, document: Document, media_type: str, extra: dict[str, str]) -> Response:
    cached = "private, no-cache" if "authorization" in request.headers else "no-cache"
    headers = {**extra, "ETag": document.tag, "Cache-Control": cached, "Vary": "Accept-Encoding, Authorization"}
    if document.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(document.packed, media_type=media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(document.data, media_type=media_type, headers=headers)


# ---------------------------------------------------------------- submitting


NOT_YOURS: dict[int | str, dict[str, Any]] = {
    401: REFUSALS[401],
    403: REFUSALS[403],
    404: {"model": Problem, "description": "Not a submission of this token"},
}


def _add_submitting(app: FastAPI, queue: SubmissionQueue) -> None:
    async def owner(credentials: Credentials) -> str:
        return await queue.owner(credentials.credentials if credentials else None)

    Owner = Annotated[str, Depends(owner)]  # noqa: N806 -- a type

    @app.post(
        "/api/submissions", status_code=202, summary="Submit a bundle", tags=["submit"], responses=REFUSALS, openapi_extra=BODY,
        response_model=State,
        description="The format is checked at once; then the bundle waits in the queue. `Location` is its state's address.",
    )  # fmt: skip
    async def submit(
        request: Request, response: Response, by: Owner, credentials: Credentials, hidden: bool = False
    ) -> dict[str, Any]:
        """Every refusal is logged with the name of the token. With `hidden`, only members see the row."""
        with queue.uploading(by):
            upload = queue.temporary()
            try:
                await receive(request, upload, queue.limits)
                new = await queue.enter(upload, by, credentials.credentials if credentials else "", hidden=hidden)
            except Refusal as error:
                await queue.refuse("upload", error, by)
                raise
            finally:
                upload.unlink(missing_ok=True)
        response.headers["Location"] = f"/api/submissions/{new.id}"
        return new.public()

    @app.get("/api/submissions", summary="Your submissions, newest first", tags=["submit"], responses={401: REFUSALS[401]})
    async def own(by: Owner) -> list[State]:
        await queue.reload()
        newest_first = sorted(queue.submissions.values(), key=lambda submission: submission.id, reverse=True)
        return [_state(submission) for submission in newest_first if submission.by == by]

    @app.get("/api/submissions/{identity}", summary="The state of a submission", tags=["submit"], responses=NOT_YOURS)
    async def state(identity: str, by: Owner) -> State:
        submission = await queue.find(identity)
        if submission is None or submission.by != by:
            raise HTTPException(404, "You have no submission with this id. GET /api/submissions lists yours.")
        return _state(submission)


async def receive(request: Request, upload: Path, limits: Limits) -> None:
    """Writes the body into a file; raises `TooLarge`, `TooSlow`, and `Malformed` if the upload was interrupted."""
    length = request.headers.get("content-length", "")
    announced = int(length) if length.isascii() and length.isdigit() and len(length) < 20 else None
    too_large = TooLarge(
        f"The upload is larger than this board allows ({limits.bytes / 1e6:.0f} MB). Submit fewer tasks at once.", "large"
    )
    if announced is not None and announced > limits.bytes:
        raise too_large
    size, chunks = 0, request.stream()
    try:
        with upload.open("wb") as file:
            async with asyncio.timeout(limits.upload_seconds(limits.bytes if announced is None else announced)):
                while (chunk := await asyncio.wait_for(anext(chunks, None), limits.chunk_seconds)) is not None:
                    size += len(chunk)
                    if size > limits.bytes:
                        raise too_large
                    file.write(chunk)
    except TimeoutError as error:
        raise TooSlow(f"The upload was too slow: {size} bytes were received. Submit it again.", "slow") from error
    except ClientDisconnect as error:
        raise Malformed("The upload was interrupted. Submit it again.", "cut") from error
    if announced is not None and size != announced:
        raise Malformed(f"The upload was interrupted: {size} of {announced} bytes were received. Submit it again.", "cut")


def _state(submission: Submission) -> State:
    return State.model_validate(submission.public() | {"tasks": list(submission.tasks)})


# ---------------------------------------------------------------- errors


def _answer_errors(app: FastAPI) -> None:
    """Turns every error into a `Problem`."""

    def problem(status: int, code: str, reason: str, headers: dict[str, str] | None = None) -> Response:
        body = Problem(code=code, reason=reason).model_dump()
        return JSONResponse(body, status, {**HEADERS, **(headers or {})})

    @app.exception_handler(Refusal)
    async def refused(request: Request, error: Refusal) -> Response:
        """Adds the headers that tell a client what to do next: authenticate, connect again, or wait."""
        headers = {"WWW-Authenticate": challenge(request)} if error.status == 401 else {}
        if isinstance(error, TooSlow):
            headers["Connection"] = "close"
        if isinstance(error, TooOften):
            headers["Retry-After"] = str(error.after)
        return problem(error.status, error.code, str(error), headers)

    @app.exception_handler(SuperbenchError)
    @app.exception_handler(OSError)
    async def unable(_: Request, error: Exception) -> Response:
        log.error("%s", error)  # only in the log: the message may contain paths and addresses
        return problem(503, "unavailable", "The board cannot be used now. Try again in a minute.", {"Retry-After": "60"})

    @app.exception_handler(Exception)
    async def broken(_: Request, error: Exception) -> Response:
        return problem(500, "broken", "Internal error of the server; the board's keeper finds it in the log.")

    @app.exception_handler(RequestValidationError)
    async def odd(_: Request, error: RequestValidationError) -> Response:
        return problem(
            422, "request", "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())[:2000]
        )

    @app.exception_handler(WebException)
    async def unknown(_: Request, error: WebException) -> Response:
        code = {404: "unknown", 405: "method", 409: "unchanged"}.get(error.status_code, "request")
        return problem(error.status_code, code, str(error.detail), dict(error.headers or {}))


def _tables(contents: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the tables of the page, and its sections for protocols that train nothing."""
    return [*contents["groups"], *contents.get("sections", ())]


def _at_each_k(table: Mapping[str, Any], index: int) -> dict[str, Any]:
    """Returns the cells of a row of a section at each K; nothing for a row of a table."""
    if "shots" not in table:
        return {}
    return {"shots": [{"k": at["k"], "cells": at["rows"][str(index)]} for at in table["shots"] if str(index) in at["rows"]]}
