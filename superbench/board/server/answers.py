"""Response models of the API: records, refusals, and the body of a submission. The page `/docs` is generated from them."""

from typing import Any

from pydantic import BaseModel, Field

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


class Health(BaseModel):
    """The state of the server, and the number of undecided submissions."""

    status: str = "ok"
    version: str = __version__
    models: int
    waiting: int


class Withdrawn(BaseModel):
    """The digests of the withdrawn bundles, which the board no longer shows."""

    bundles: list[str]


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "Not a valid bundle: cut off, damaged or malicious"},
    401: {"model": Problem, "description": "No token, or an unknown token"},
    408: {"model": Problem, "description": "The upload was too slow"},
    409: {"model": Problem, "description": "The same bundle was submitted before"},
    413: {"model": Problem, "description": "Larger than this board allows"},
    422: {"model": Problem, "description": "A bundle whose results could not be confirmed"},
    429: {"model": Problem, "description": "Too many submissions; see Retry-After"},
    503: {"model": Problem, "description": "The board's storage cannot be written now"},
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
BODY = {"requestBody": {"required": True, "content": {"application/zip": _BINARY}}}
