"""Atomic writing of files: a temporary file in the same folder is written, flushed, and renamed in one step.

Files with state (tensors, facts) are sealed: they contain a digest of their content, which is checked at every reading.
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
"""Key of the digest in a sealed file."""


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`. On success that file is renamed to `path`, on failure it is removed.

    Raises `StoreError` when the disk is full or read-only; then an earlier file at `path` stays unchanged.
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


def require_folder(folder: Path, option: str, *, make: bool = True) -> None:
    """Checks before any work that files can be written to `folder`. The folder is created, unless `make` is False.

    `option` is the option and its value, such as `--out results`. Raises `CommandError` if the folder, or one above it, is a
    file or not writable.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise CommandError(f"{option}: {existing} is not a folder. Choose another place.")
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        elif not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        reason = error.strerror or error
        raise CommandError(f"{option}: no file can be created in {folder} ({reason}). Choose another place.") from error


def require_place(file: Path, option: str) -> None:
    """Checks before any work that `file` can be written. Its folder is created; `file` must not be a folder or a device.

    `option` is the option and its value, such as `--out board.html`. Raises `CommandError`.
    """
    if file.exists() and not file.is_file():
        other = "folder" if file.is_dir() else "device"
        raise CommandError(f"{option}: {file} is a {other}. Give the name of a file that can be written.")
    require_folder(file.parent, option)


def _disk(path: Path, error: OSError) -> StoreError:
    if error.errno == errno.ENOSPC:
        advice = "The disk is full: free some space and run the same command again; it resumes from here."
    else:
        advice = "Check that the folder is writable, or choose another one."
    return StoreError(f"Could not write {path}: {error.strerror or error}. {advice}")


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` atomically; raises `StoreError`."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Writes rows as CSV with a header line, atomically; raises `StoreError`."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows({key: in_csv(value) for key, value in row.items()} for row in rows)
    write_text(path, text.getvalue())


def write_facts(path: Path, facts: Any) -> None:
    """Writes JSON values together with their digest, atomically; raises `StoreError`."""
    text = json.dumps(facts, sort_keys=True)
    write_text(path, json.dumps({SEAL: _digest(text.encode()), "facts": json.loads(text)}, indent=1) + "\n")


def read_facts(path: Path) -> Any:
    """Reads what `write_facts` wrote; raises `DamagedFile` if the content differs, `StoreError` if the file cannot be read."""
    try:
        content = json.loads(path.read_bytes())
        if content[SEAL] == _digest(json.dumps(content["facts"], sort_keys=True).encode()):
            return content["facts"]
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedFile(f"{path} is damaged: {error}.") from error
    raise DamagedFile(f"{path} is damaged: its content is not what was written.")


def save_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Writes tensors and text facts to a safetensors file, atomically; raises `StoreError`. The file contains no digest: it is
    for features, whose digests are in the index of the store."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with whole(path) as temporary:
        try:
            save_file({name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}, temporary, dict(facts))
        except SafetensorError as error:
            code = errno.ENOSPC if "No space" in str(error) else errno.EIO
            raise OSError(code, str(error)) from error


def save_sealed(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Writes a file as `save_tensors` does, with a digest of tensors and facts among the facts."""
    plain = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    save_tensors(path, plain, {**facts, SEAL: _digest_of(plain, facts)})


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns the tensors (on the CPU) and the facts of a safetensors file.

    Raises `DamagedFile` if the file is truncated, is no safetensors file, or does not match its digest (if it has one);
    `StoreError` if it cannot be read.
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
        raise DamagedFile(f"{path} is damaged: its content is not what was written.")
    return tensors, facts


def load_sealed(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Reads a file as `load_tensors` does; a file without a digest counts as damaged."""
    tensors, facts = load_tensors(path)
    if SEAL not in facts:
        raise DamagedFile(f"{path} is damaged: it has no digest.")
    return tensors, facts


def _digest_of(tensors: Mapping[str, Tensor], facts: Mapping[str, str]) -> str:
    """Returns the digest of names, types, shapes and bytes of tensors, and of facts."""
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
