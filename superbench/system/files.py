"""Files that are whole or absent: written beside their place, flushed, and moved there in one step.

Those that hold a state (tensors, remembered facts) are sealed: a digest of what they hold goes in with it, and is looked at
whenever they are read.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from superbench.errors import CommandError, DamagedFile, StoreError
from superbench.system.spelling import in_csv

if TYPE_CHECKING:
    from torch import Tensor

SEAL = "digest"
"""What the digest of a file is called within it."""


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; on success it takes `path`'s place, on failure it is removed.

    Raises `StoreError` when the disk is full or read-only; what stood at `path` before is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise _disk(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        raise _disk(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def require_folder(folder: Path, asked: str, *, make: bool = True) -> None:
    """See before any work that files can be made in `folder`, which is made, unless `make` says that nothing may be written.

    `asked` is how the folder was named, as in `--out results`. Raises `CommandError` where it, or one above it, is a file, or
    cannot be written.
    """
    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(one))
    if not there.is_dir():
        raise CommandError(f"{asked}: {there} is not a folder. Choose another place.")
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        elif not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        reason = error.strerror or error
        raise CommandError(f"{asked}: no file can be made in {folder} ({reason}). Choose another place.") from error


def require_place(file: Path, asked: str) -> None:
    """See before any work that `file` can be written: its folder is made, and it is no folder or device itself.

    `asked` is how it was named, as in `--out board.html`. Raises `CommandError`.
    """
    if file.exists() and not file.is_file():
        kind = "folder" if file.is_dir() else "device"
        raise CommandError(f"{asked}: {file} is a {kind}. Give the name of a file that can be written.")
    require_folder(file.parent, asked)


def _disk(path: Path, error: OSError) -> StoreError:
    if error.errno == errno.ENOSPC:
        advice = "The disk is full: free some space and run the same command again; it goes on from here."
    else:
        advice = "Check that the folder is writable, or choose another one."
    return StoreError(f"Could not write {path}: {error.strerror or error}. {advice}")


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as CSV under a line of column names, whole or not at all."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows({key: in_csv(value) for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def write_facts(path: Path, facts: Any) -> None:
    """Write JSON values under their digest, whole or not at all; raises `StoreError`."""
    text = json.dumps(facts, sort_keys=True)
    write_text(path, json.dumps({SEAL: _digest(text.encode()), "facts": json.loads(text)}, indent=1) + "\n")


def read_facts(path: Path) -> Any:
    """What `write_facts` wrote; raises `DamagedFile` where it is not that, `StoreError` where there is nothing to read."""
    try:
        kept = json.loads(path.read_bytes())
        if kept[SEAL] == _digest(json.dumps(kept["facts"], sort_keys=True).encode()):
            return kept["facts"]
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"{path} is damaged: {error}.") from error
    raise DamagedFile(f"{path} is damaged: it does not hold what was written.")


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write tensors and string facts as one safetensors file, whole or not at all. It has no digest: that is for features, of
    whose files the index of their store has one."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with whole(path) as temporary:
        try:
            save_file({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, temporary, dict(facts))
        except SafetensorError as error:
            code = errno.ENOSPC if "No space" in str(error) else errno.EIO
            raise OSError(code, str(error)) from error


def save_sealed(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """As `save_tensors`, with a digest of all that among the facts."""
    plain = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    save_tensors(path, plain, {**facts, SEAL: _digest_of(plain, facts)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors (on the CPU) and facts of a safetensors file.

    Raises `DamagedFile` for one that is cut off, is none, or does not hold what its digest says, where it has one; `StoreError`
    for one that cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors, facts = {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except OSError as error:
        raise StoreError(f"{path} is not a readable safetensors file: {error}.") from error
    except (SafetensorError, ValueError, TypeError, RuntimeError) as error:
        raise DamagedFile(f"{path} is not a readable safetensors file: {error}.") from error
    unsealed = {name: value for name, value in facts.items() if name != SEAL}
    if SEAL in facts and facts[SEAL] != _digest_of(tensors, unsealed):
        raise DamagedFile(f"{path} is damaged: it does not hold what was written.")
    return tensors, facts


def load_sealed(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """As `load_tensors`; a file without a digest is damaged as well."""
    tensors, facts = load_tensors(path)
    if SEAL not in facts:
        raise DamagedFile(f"{path} is damaged: it has no digest.")
    return tensors, facts


def _digest_of(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    """Digest of names, types, shapes and bytes of tensors, and of facts."""
    import torch

    parts: list[Any] = [json.dumps(sorted(facts.items())).encode()]
    for name, tensor in sorted(tensors.items()):
        parts.append(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        parts.append(tensor.reshape(-1).view(torch.uint8).numpy())
    return _digest(*parts)


def _digest(*parts: Any) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
