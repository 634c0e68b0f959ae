"""Tokens: who may read, submit to, or keep a board's server. The board stores a digest of each token, its name, its date and
its role, not the token.

A token has 256 random bits, so a fast digest is as safe as a slow one. It is shown only once.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Literal, get_args

from superbench.board.bundles import strict_json
from superbench.board.storage import incoming
from superbench.board.storage.base import KEEPER, Reading, Storage, event, now
from superbench.errors import CommandError, Malformed, NotAllowed

PREFIX = "sb_"
Role = Literal["reader", "submitter", "admin"]
"""Ascending: each role may do what the one before may."""
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True)
class Token:
    """The record of a token. `revoked` is a time, or empty. A `reader` sees the rows of a private board and hidden rows; a
    `submitter` may also submit, and hide its own rows; an `admin` may also change and remove the rows of others."""

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
    if name.casefold() == KEEPER:
        raise CommandError(f"The name {name!r} stands for the keeper in the board's log. Choose another name.")
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
    """Returns the name of an admin's token; raises `NotAllowed`, with status 403 for a token of another role."""
    return with_role(storage, secret, "admin").name


def with_role(storage: Reading, secret: str | None, least: Role) -> Token:
    """Returns the record of a token that has this role or one above it; raises `NotAllowed` (status 403 for a lower one)."""
    token = _valid(storage, secret)
    if ROLES.index(token.role) < ROLES.index(least):
        may = {"submitter": "submit", "admin": "change the rows of others"}[least]
        raise too_weak(token.name, f"it is the token of a {token.role}, which may not {may}")
    return token


def too_weak(name: str, why: str) -> NotAllowed:
    """Returns the refusal (status 403) of what a valid token may not do."""
    refusal = NotAllowed(
        f"The token of {name} may not do this: {why}. The board's keeper can make another token: superbench token BOARD --role",
        "role",
    )
    refusal.status = 403
    return refusal


def require_submitter(storage: Reading, name: str) -> None:
    """Raises `CommandError` unless the board has a valid token of this name that may submit."""
    valid = [token for token in listed(storage) if token.name == name and not token.revoked]
    if not valid:
        known = ", ".join(sorted({token.name for token in listed(storage) if not token.revoked})) or "none"
        raise CommandError(
            f"This board has no valid token called {name!r} (it has {known}). Make one: superbench token BOARD --name {name}"
        )
    if all(token.role == "reader" for token in valid):
        raise CommandError(f"The token of {name} is that of a reader, who owns no rows. Make a token with --role submitter.")


def owner(storage: Reading, secret: str | None) -> str:
    """Returns the name of a token that may submit; raises `NotAllowed`."""
    return with_role(storage, secret, "submitter").name


def _valid(storage: Reading, secret: str | None) -> Token:
    """Returns the record of a token; raises `NotAllowed` if it is missing, unknown or revoked."""
    record = storage.get("tokens", digest_of(secret)) if secret and secret.startswith(PREFIX) else None
    token = None if record is None else _parsed(record)
    if token is None or token.revoked:
        state = "revoked" if token else "unknown" if secret else "missing"
        raise NotAllowed(f"The token is {state}. Ask the board's keeper for one: superbench token BOARD --name YOU", "token")
    return token


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
    token = Token(**json.loads(data or b"{}"))
    return token if token.role in ROLES else replace(token, role="reader")  # of a later version: the least that it may do
