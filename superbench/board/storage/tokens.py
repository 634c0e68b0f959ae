"""Tokens: who may submit to a board that is served. Only a digest of each is kept, with its name and when it was made.

A token is 256 random bits, so that a plain digest is as good as a slow one; it is shown once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Literal

from superbench.board.bundles import strict_json
from superbench.board.storage.base import Reading, Storage, event, now
from superbench.errors import CommandError, Malformed, NotAllowed

PREFIX = "sb_"
Role = Literal["submitter", "admin"]


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token. `revoked` is when, or empty. An `admin` may remove the rows of others too."""

    name: str
    created: str
    revoked: str = ""
    role: Role = "submitter"


def create(storage: Storage, name: str, role: Role = "submitter") -> str:
    """A new token called `name`; the text is to be handed to its owner, it cannot be shown again. Raises `CommandError`."""
    try:
        strict_json.name(name, "The token's name")
    except Malformed as error:
        raise CommandError(str(error)) from error
    secret = PREFIX + secrets.token_urlsafe(32)
    with storage.writing() as writer:
        if name in {one.name for one in listed(writer) if not one.revoked}:
            raise CommandError(f"This board has a token called {name!r} already. Revoke it first, or choose another name.")
        writer.put("tokens", _digest(secret), _packed(Token(name, now(), role=role)))
        writer.log(event("keeper", "token created", name, role))
    return secret


def revoke(storage: Storage, name: str) -> None:
    """Make the token called `name` useless; what was submitted with it stays. Raises `CommandError`."""
    with storage.writing() as writer:
        for digest in writer.names("tokens"):
            token = _parsed(writer.get("tokens", digest))
            if token.name == name and not token.revoked:
                writer.put("tokens", digest, _packed(replace(token, revoked=now())))
                writer.log(event("keeper", "token revoked", name))
                return
    raise CommandError(
        f"This board has no token called {name!r} that could be revoked. `superbench token BOARD --list` shows all."
    )


def listed(storage: Reading) -> list[Token]:
    """All tokens, by name and age."""
    found = [_parsed(storage.get("tokens", digest)) for digest in storage.names("tokens")]
    return sorted(found, key=lambda one: (one.name, one.created))


def admin(storage: Reading, secret: str | None) -> str:
    """The name of an admin's token; raises `NotAllowed`, with status 403 for a token that may only submit."""
    name = owner(storage, secret)
    if _parsed(storage.get("tokens", _digest(secret or ""))).role != "admin":
        refusal = NotAllowed(
            f"{name} may submit, and remove nothing. The board's keeper makes an admin's token: --admin", "role"
        )
        refusal.status = 403
        raise refusal
    return name


def owner(storage: Reading, secret: str | None) -> str:
    """The name of the token; raises `NotAllowed`."""
    found = storage.get("tokens", _digest(secret)) if secret and secret.startswith(PREFIX) else None
    token = None if found is None else _parsed(found)
    if token is None or token.revoked:
        state = "revoked" if token else "not known" if secret else "missing"
        raise NotAllowed(f"The token is {state}. Ask the board's keeper for one: superbench token BOARD --name YOU", "token")
    return token.name


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _packed(token: Token) -> bytes:
    return (json.dumps(asdict(token), ensure_ascii=False) + "\n").encode()


def _parsed(data: bytes | None) -> Token:
    return Token(**json.loads(data or b"{}"))
