"""A bundle: everything that one upstream achieved, as one zip file that says what is in it.

`manifest.json` names every file with its SHA-256; `<task>/result.json` and `<task>/predictions.jsonl.gz` follow. The same
results give the same bytes, so a bundle's own digest is its name.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superbench import __version__
from superbench.contract import Prediction
from superbench.errors import BadResult
from superbench.results import Result, find_results, read_predictions, read_result

MANIFEST = "manifest.json"
LARGEST = 1_000_000_000
"""Bytes that a bundle may hold when unpacked (all ten tasks on the real corpora take about 100 MB)."""

_MEMBER = re.compile(r"[A-Za-z0-9_-]+/(result\.json|predictions\.jsonl\.gz)")
_OLDEST = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One task's result with its predictions."""

    result: Result
    predictions: list[Prediction]


@dataclass(frozen=True, slots=True)
class Bundle:
    """An unpacked bundle: the upstream's name, and its entries by task."""

    upstream: str
    entries: Mapping[str, Entry]
    digest: str


def pack_bundle(folder: Path) -> bytes:
    """The bundle of one upstream's result folder (`OUT/<upstream>`); raises `BadResult` if it holds no result."""
    places = find_results(folder)
    if not places:
        raise BadResult(f"{folder} holds no result.json. Give the folder that `superbench run --out` wrote.")
    files: dict[str, bytes] = {}
    names = set()
    for place in places:
        result = read_result(place)
        names.add(result.upstream.name)
        files[f"{result.task.name}/result.json"] = result.to_json().encode()
        files[f"{result.task.name}/predictions.jsonl.gz"] = (place / result.predictions).read_bytes()
    if len(names) > 1:
        raise BadResult(f"{folder} holds results of several upstreams ({', '.join(sorted(names))}); bundle them one by one.")
    manifest = {
        "schema": 1,
        "superbench": __version__,
        "upstream": names.pop(),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    return _zipped({MANIFEST: (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode(), **files})


def _zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _OLDEST), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def open_bundle(data: bytes) -> Bundle:
    """Unpack and check a bundle: names, sizes, hashes, schema. Raises `BadResult` that says what is wrong."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = _members(archive)
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, NotImplementedError) as error:
        raise BadResult(f"This is not a bundle: {error}. Make one with `superbench submit`.") from error
    manifest = _manifest(files.pop(MANIFEST, None))
    listed = manifest["files"]
    if set(listed) != set(files):
        odd = ", ".join(sorted(set(listed) ^ set(files)))
        raise BadResult(f"The bundle's manifest and its files differ: {odd}. Make the bundle again.")
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != listed[name]:
            raise BadResult(f"{name} in the bundle was changed after it was made (its SHA-256 differs). Make the bundle again.")
    entries = _entries(files, manifest["upstream"])
    return Bundle(manifest["upstream"], entries, hashlib.sha256(data).hexdigest())


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    names = archive.namelist()
    strange = [name for name in names if name != MANIFEST and not _MEMBER.fullmatch(name)]
    if strange or len(set(names)) != len(names):
        raise BadResult(f"The bundle holds files that no bundle has: {', '.join(strange) or 'a name twice'}.")
    size = sum(info.file_size for info in archive.infolist())
    if size > LARGEST:
        raise BadResult(f"The bundle holds {size / 1e9:.1f} GB; at most {LARGEST / 1e9:.0f} GB are accepted.")
    return {name: archive.read(name) for name in names}


def _manifest(content: bytes | None) -> dict[str, Any]:
    try:
        manifest = json.loads(content or b"")
        if manifest["schema"] != 1 or not isinstance(manifest["files"], dict) or not isinstance(manifest["upstream"], str):
            raise ValueError("its schema is unknown")
    except (ValueError, KeyError, TypeError) as error:
        raise BadResult(f"The bundle has no usable {MANIFEST}: {error}. Make the bundle again.") from error
    return manifest


def _entries(files: Mapping[str, bytes], upstream: str) -> dict[str, Entry]:
    entries = {}
    with tempfile.TemporaryDirectory(prefix="superbench-bundle-") as temporary:
        for name, content in files.items():
            path = Path(temporary) / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
        for place in find_results(Path(temporary)):
            result = read_result(place)
            if result.task.name != place.name or result.upstream.name != upstream:
                raise BadResult(
                    f"{place.name}/result.json is of {result.upstream.name} on {result.task.name}, "
                    f"the manifest speaks of {upstream}. Make the bundle again."
                )
            entries[place.name] = Entry(result, read_predictions(place / "predictions.jsonl.gz"))
    return entries
