"""Addresses of boards: a folder, a database URL, an SQLite file, or the web address of a server."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from superbench.board.storage.base import KEEPER, Storage, event
from superbench.board.storage.folder import FolderStorage
from superbench.errors import CommandError

DATABASE_FILES = {".db", ".sqlite", ".sqlite3"}
WEB = ("http", "https")
DATABASES = ("sqlite", "postgresql", "postgres")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):/")
_HOST = re.compile(r"(localhost|[\w-]+(\.[\w-]+)+|\[[0-9a-f:]+\]):\d+(/.*)?")


def is_web(address: str) -> bool:
    """Returns whether an address is that of a board's server; raises `CommandError` for one that is neither this nor a storage.

    >>> is_web("http://localhost:8000"), is_web("board"), is_web("sqlite:///board.db")
    (True, False, False)
    >>> is_web("htp://localhost:8000")
    Traceback (most recent call last):
    superbench.errors.CommandError: htp://localhost:8000: expected a folder, http://, https://, sqlite:// or postgresql:// in \
place of htp://. Did you mean http://localhost:8000?
    """
    match = _SCHEME.match(address)
    if match is None:
        _require_no_host(address)
        return False
    scheme, rest = match[1].casefold(), address[match.end() :].lstrip("/")
    known = scheme.partition("+")[0]
    web = known in WEB
    if (web or known in DATABASES) and address[match.end() - 1 :].startswith("//"):
        return web
    likely = difflib.get_close_matches(known, (*WEB, *DATABASES), 1)
    guess = f" Did you mean {likely[0]}://{rest}?" if likely else ""
    written = f"{match[1]}:{'//' if address[match.end() - 1 :].startswith('//') else '/'}"
    raise CommandError(
        f"{shown(address)}: expected a folder, http://, https://, sqlite:// or postgresql:// in place of {written}.{guess}"
    )


def _require_no_host(address: str) -> None:
    if _HOST.fullmatch(address) and not Path(address).exists():
        raise CommandError(
            f"{address} looks like the address of a server. Write http://{address}, or ./{address} for a folder of that name."
        )


def storage_at(address: Path | str) -> Storage:
    """Returns the storage at an address: a folder, a database URL, or an SQLite file (.db, .sqlite). Raises `CommandError`."""
    text = str(address)
    if isinstance(address, str) and is_web(text):
        raise CommandError(
            f"{text}: this is the web page of a board. Submit to it with --token; only its keeper can open its storage."
        )
    if _SCHEME.match(text) or Path(text).suffix in DATABASE_FILES:
        from superbench.board.storage.database import DatabaseStorage

        return DatabaseStorage(text if _SCHEME.match(text) else f"sqlite:///{text}")
    return FolderStorage(Path(address))


def shown(address: str) -> str:
    """Returns an address without its password.

    >>> shown("postgresql://me:secret@host/board")
    'postgresql://me:***@host/board'
    """
    return re.sub(r"://([^:/@]*):[^@/]*@", r"://\1:***@", address)


def require_board(storage: Storage, *, create: bool = False) -> None:
    """Raises `CommandError` if there is no board in a storage; with `create`, makes an empty one."""
    if storage.exists():
        return
    if not create:
        raise CommandError(
            f"There is no board at {shown(storage.address)}. Check the name. `superbench submit DIR --board BOARD` makes a "
            "board with its first rows; `superbench serve` and `superbench token` make an empty one with --create."
        )
    with storage.writing() as writer:
        writer.log(event(KEEPER, "created", "board"))
