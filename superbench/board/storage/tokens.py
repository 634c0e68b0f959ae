"""Tokens: who may submit to a board's server. The board stores a digest of each token, its name and its date, not the token.

A token has 256 random bits, so a fast digest is as safe as a slow one. It is shown only once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Literal

from superbench.board.bundles import strict_json
from superbench.board.storage import incoming
from superbench.board.storage.base import Reading, Storage, event, now
from superbench.errors import CommandError, Malformed, NotAllowed

PREFIX = "sb_"
Role = Literal["submitter", "admin"]


@dataclass(frozen=True, slots=True)
class Token:
    """The record of a token. `revoked` is a time, or empty. An `admin` may also remove the rows of other tokens."""

    name: str
    created: str
    revoked: str = ""
    role: Role = "submitter"


def create(storage: Storage, name: str, role: Role = "submitter") -> str:
    """Creates a token called `name` and returns its text for the owner; it cannot be shown again. Raises `CommandError`."""
    try:
        strict_json.name(name, "The token's name")
    except Malformed as error:
        raise CommandError(str(error)) from error
    secret = PREFIX + secrets.token_urlsafe(32)
    with storage.writing() as writer:
        if name in {token.name for token in listed(writer) if not token.revoked}:
            raise CommandError(f"This board already has a token called {name!r}. Revoke it first, or choose another name.")
        writer.put("tokens", digest_of(secret), _packed(Token(name, now(), role=role)))
        writer.log(event("keeper", "token created", name, role))
    return secret


def revoke(storage: Storage, name: str) -> int:
    """Revokes the token called `name`; its rows stay on the board. Returns how many of its submissions are undecided: they
    are refused when their turn comes. Raises `CommandError`."""
    with storage.writing() as writer:
        for digest in writer.names("tokens"):
            token = _parsed(writer.get("tokens", digest))
            if token.name == name and not token.revoked:
                writer.put("tokens", digest, _packed(replace(token, revoked=now())))
                undecided = sum(entry.pending and entry.token == digest for entry in incoming.all_of(writer))
                writer.log(event("keeper", "token revoked", name, f"{undecided} undecided submissions"))
                return undecided
    raise CommandError(f"This board has no valid token called {name!r}. `superbench token BOARD --list` lists all tokens.")


def listed(storage: Reading) -> list[Token]:
    """Returns all tokens, sorted by name and date."""
    tokens = [_parsed(storage.get("tokens", digest)) for digest in storage.names("tokens")]
    return sorted(tokens, key=lambda token: (token.name, token.created))


def admin(storage: Reading, secret: str | None) -> str:
    """Returns the name of an admin's token; raises `NotAllowed`, with status 403 for a token that may only submit."""
    name = owner(storage, secret)
    if _parsed(storage.get("tokens", digest_of(secret or ""))).role != "admin":
        refusal = NotAllowed(
            f"The token of {name} may submit, but not remove rows. The board's keeper can make an admin's token: --admin",
            "role",
        )
        refusal.status = 403
        raise refusal
    return name


def owner(storage: Reading, secret: str | None) -> str:
    """Returns the name of a token; raises `NotAllowed`."""
    record = storage.get("tokens", digest_of(secret)) if secret and secret.startswith(PREFIX) else None
    token = None if record is None else _parsed(record)
    if token is None or token.revoked:
        state = "revoked" if token else "unknown" if secret else "missing"
        raise NotAllowed(f"The token is {state}. Ask the board's keeper for one: superbench token BOARD --name YOU", "token")
    return token.name


def require_valid(storage: Reading, digest: str) -> None:
    """Raises `NotAllowed` if the token with this digest was revoked after it had sent a submission; "" is no token."""
    if digest and _parsed(storage.get("tokens", digest)).revoked:
        refusal = NotAllowed("its token was revoked. Submit it again with a token that is valid.", "revoked")
        refusal.status = 403
        raise refusal


def digest_of(secret: str) -> str:
    """Returns the digest of a token: the name of its record in the storage."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _packed(token: Token) -> bytes:
    return (json.dumps(asdict(token), ensure_ascii=False) + "\n").encode()


def _parsed(data: bytes | None) -> Token:
    return Token(**json.loads(data or b"{}"))
