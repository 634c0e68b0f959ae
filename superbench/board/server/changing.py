"""The API for changes of rows: withdrawing, hiding, renaming, giving to another owner. Each needs a token, and is logged."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from superbench.board.server.answers import REFUSALS, Change, Changed, Problem, Withdrawn
from superbench.board.server.submissions import SubmissionQueue
from superbench.board.storage.base import KEEPER, StoredBundle
from superbench.board.storage.row_changes import Unchanged
from superbench.board.storage.tokens import Token
from superbench.errors import CommandError, UnknownName, shortened

NO_MODEL = "No model on this board has the name {!r}. GET /api/models lists all."

Credentials = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="`superbench token BOARD --name YOU` makes one")),
]
_ANSWERS: dict[int | str, dict[str, Any]] = {
    401: REFUSALS[401], 403: REFUSALS[403],
    400: {"model": Problem, "description": "A reason of more than one line, or too long"},
    404: {"model": Problem, "description": "No such model, or withdrawn already"},
    409: {"model": Problem, "description": "More than one row or bundle fits; or nothing would change; or the name is taken"},
}  # fmt: skip


def add_changing(app: FastAPI, queue: SubmissionQueue) -> None:
    """Adds `DELETE` and `PATCH` of `/api/models/NAME`."""

    @app.delete(
        "/api/models/{name:path}", summary="Remove a row from the board", tags=["keep"], responses=_ANSWERS,
        description="Needs an admin's token (`superbench token BOARD --role admin`). Takes the name of a model, or the digest "
        "of a bundle (at least 8 digits), and in `because` the reason: one line of at most 500 characters.",
    )  # fmt: skip
    async def withdraw(name: str, credentials: Credentials, because: str = "") -> Withdrawn:
        """Every withdrawal is logged with the name of the token."""
        by = await queue.member(_secret(credentials), "admin")
        withdrawn = await _changed(queue, name, partial(queue.board.withdraw, name, by.name, because), 404)
        return Withdrawn(bundles=[stored.digest for stored in withdrawn])

    @app.patch(
        "/api/models/{name:path}", summary="Hide, rename or transfer a row", tags=["keep"], responses=_ANSWERS,
        description="Takes one of `hidden`, `name` and `owner`, and in `because` the reason. An admin may change all rows; a "
        "submitter may hide and show its own.",
    )  # fmt: skip
    async def change(name: str, asked: Change, credentials: Credentials) -> Changed:
        """Every change is logged with the name of the token."""
        by = await queue.member(_secret(credentials), "admin" if asked.hidden is None else "submitter")
        bundles = await _changed(queue, name, partial(_change, queue, name, asked, by), 422)
        digests = [stored.digest for stored in bundles]
        return Changed(name=bundles[0].upstream, owner=bundles[0].by or KEEPER, bundles=digests)


def _change(queue: SubmissionQueue, row: str, asked: Change, by: Token) -> Sequence[StoredBundle]:
    board = queue.board
    if asked.hidden is not None:
        return board.hide(row, by.name, asked.because, hidden=asked.hidden, own=by.role != "admin")
    if asked.name is not None:
        return board.rename(row, asked.name, by.name, asked.because)
    return board.transfer(row, asked.owner or "", by.name, asked.because)


async def _changed(
    queue: SubmissionQueue, name: str, change: Callable[[], Sequence[StoredBundle]], status: int
) -> list[StoredBundle]:
    """Makes a change; its errors get a status: 404 for an unknown row, 409 if nothing would change, else `status`."""
    try:
        return await queue.change(change)
    except UnknownName as error:
        raise HTTPException(404, NO_MODEL.format(shortened(name, 200))) from error
    except Unchanged as error:
        raise HTTPException(409, str(error)) from error
    except CommandError as error:
        raise HTTPException(status, str(error)) from error


def _secret(credentials: Credentials) -> str | None:
    return credentials.credentials if credentials else None
