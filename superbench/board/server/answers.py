"""What the API of a board answers: records, refusals, the body of a submission. The description at `/docs` is made of them."""

from typing import Any

from pydantic import BaseModel, Field

from superbench.__version__ import __version__


class Problem(BaseModel):
    """Why something was refused."""

    code: str = Field(description="The reason in one word", examples=["replayed"])
    reason: str = Field(description="The reason in a sentence, and what to do")


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
    """That the server is there, and how much waits."""

    status: str = "ok"
    version: str = __version__
    models: int
    waiting: int


class Withdrawn(BaseModel):
    """The digests of the bundles that the board does not show any more."""

    bundles: list[str]


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "Not a bundle: cut off, damaged, or made to harm"},
    401: {"model": Problem, "description": "No token, or one that the board does not know"},
    408: {"model": Problem, "description": "The upload was too slow"},
    409: {"model": Problem, "description": "The very same bundle was submitted before"},
    413: {"model": Problem, "description": "Larger than the board takes"},
    422: {"model": Problem, "description": "A bundle, but what it says does not hold"},
    429: {"model": Problem, "description": "Too many submissions; see Retry-After"},
    503: {"model": Problem, "description": "The board cannot be written now"},
}
BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
