"""Response models of the API: records, refusals, and the body of a submission. The page `/docs` is generated from them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field, model_validator

from superbench.__version__ import __version__


class Problem(BaseModel):
    """Why something was refused."""

    code: str = Field(description="The reason in one word", examples=["replayed"])
    reason: str = Field(description="The reason in a sentence, with the next step")


class State(BaseModel):
    """A submission as its sender sees it. Times are UTC, `YYYYMMDDThhmmss.ffffffZ`."""

    id: str
    by: str = Field(description="The name of the token")
    received: str
    bytes: int
    upstream: str
    tasks: list[str]
    digest: str = Field(description="SHA-256 that names the bundle")
    state: str = Field(description="queued, scoring, accepted, refused or failed")
    status: int = Field(
        description="The HTTP status of the outcome: 202 while it is undecided, 200 accepted, 4xx refused, 500 failed"
    )
    code: str = ""
    reason: str = ""
    ended: str = ""
    hidden: bool = False


class Health(BaseModel):
    """The state of the server, and the number of undecided submissions."""

    status: str = "ok"
    version: str = __version__
    models: int | None = Field(description="null on a private board")
    waiting: int


class Withdrawn(BaseModel):
    """The digests of the withdrawn bundles, which the board no longer shows."""

    bundles: list[str]


class Change(BaseModel):
    """One change of a row, and its reason: one line of at most 500 characters."""

    hidden: bool | None = Field(None, description="true: only members see the row; false: everybody does")
    name: str | None = Field(None, description="The new name of the row", max_length=200)
    owner: str | None = Field(None, description="The new owner: the name of a token that may submit, or keeper", max_length=200)
    because: str = Field("", max_length=500)

    @model_validator(mode="after")
    def _one(self) -> Change:
        if sum(value is not None for value in (self.hidden, self.name, self.owner)) != 1:
            raise ValueError("expected exactly one of hidden, name and owner")
        return self


class Changed(BaseModel):
    """A row after a change: its name, its owner, and the digests of its bundles."""

    name: str
    owner: str
    bundles: list[str]


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "Not a valid bundle: cut off, damaged or malicious"},
    401: {"model": Problem, "description": "No token, or an unknown token"},
    403: {"model": Problem, "description": "A token whose role does not allow it"},
    408: {"model": Problem, "description": "The upload was too slow"},
    409: {"model": Problem, "description": "The same bundle was submitted before"},
    413: {"model": Problem, "description": "Larger than this board allows"},
    422: {"model": Problem, "description": "A bundle whose results could not be confirmed"},
    429: {"model": Problem, "description": "Too many submissions; see Retry-After"},
    503: {"model": Problem, "description": "The board's storage cannot be written now"},
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {"requestBody": {"required": True, "content": {"application/zip": _BINARY}}}
