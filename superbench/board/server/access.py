"""Who sends a request: the token in its header `Authorization`, and the way in which a browser is asked for one."""

from __future__ import annotations

import base64
from urllib.parse import unquote

from starlette.requests import Request

PAGES = ("/", "/members")
"""What people open in a browser, which then asks for a name and a password: any name, and the token."""


def secret_of(request: Request) -> str | None:
    """Returns the token of a request: that of `Bearer`, or the password of `Basic`, which browsers send; None if there is none.

    Only requests that read may use this: browsers repeat a password for requests that other web sites make.
    """
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return value or None  # a scheme that is not known: no token has this text
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return value


def challenge(request: Request) -> str:
    """Returns the header `WWW-Authenticate` for a request without a valid token."""
    return 'Basic realm="superbench board", charset="UTF-8"' if unquote(request.url.path) in PAGES else "Bearer"
