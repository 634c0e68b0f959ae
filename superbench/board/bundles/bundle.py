"""A bundle: all results of one upstream in one zip file with a manifest.

`manifest.json` (schema 1) lists every file with its SHA-256; `<task>/result.json` and `<task>/predictions.jsonl.gz` follow,
those of protocols that train nothing as `<task>/few-shot/result.json` and so on.
Each result contains the doctor's certificate and the data passport. The same results give the same bytes. The digest of a
bundle, which is also its name, is computed from the list in its manifest: compressing the same files again does not make a
new bundle.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import ValidationError

from superbench.__version__ import __version__
from superbench.board.bundles import strict_json
from superbench.board.bundles.archive import gunzipped, packed, unpacked
from superbench.board.bundles.lookalikes import require_legible
from superbench.contract import UNTRAINED, Prediction, Shots
from superbench.errors import BadResult, Malformed, Refusal
from superbench.results import Result, name_of, pack, read_predictions, read_whole_results, require_results
from superbench.results.own import task_of
from superbench.results.result import MOST_DRAWS
from superbench.system.records import first_fault

MANIFEST = "manifest.json"
PREDICTIONS = "predictions.jsonl.gz"
LARGEST_RESULT = 8_000_000
MOST_PREDICTIONS = 2_000_000
MOST_SHOTS = 1_000_000
"""The largest K."""
LONGEST_ID = 500
"""Characters of an item's id; the page shows the ids of the hardest items."""

_MEMBER = re.compile(rf"[A-Za-z0-9_-]{{1,40}}/(({'|'.join(sorted(UNTRAINED))})/)?(result\.json|predictions\.jsonl\.gz)")
_FIELDS = {"schema", "superbench", "upstream", "files", "withheld"}
_LINE = {"id", "fold", "group", "reference", "prediction"}
_EPISODE = {"k", "draw"}


@dataclass(frozen=True)
class Entry:
    """One result, and its predictions file. `withheld`: the file contains no references (they are read as None)."""

    result: Result
    packed: bytes
    withheld: bool = False

    @cached_property
    def predictions(self) -> list[Prediction]:
        """The predictions, in the order of the file; raises `Malformed`."""
        return predictions_of(gunzipped(self.packed, self._name), self._name)

    @property
    def name(self) -> str:
        """Its name in the bundle: `ks`, `ks/few-shot`."""
        return name_of(self.result)

    @property
    def _name(self) -> str:
        return f"{self.name}/{PREDICTIONS}"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An unpacked bundle: the upstream's name, the entries by name (task, and protocol if it trains nothing), and the bytes as
    this version of superbench packs them."""

    upstream: str
    entries: Mapping[str, Entry]
    digest: str
    data: bytes


# ---------------------------------------------------------------- packing


def pack_bundle(folder: Path, *, without_references: bool = False) -> bytes:
    """Returns the bundle of one upstream's result folder (`OUT/<upstream>`); raises `BadResult` if it contains no result,
    or one that was changed since it was written.

    `without_references` leaves out the labels of tasks whose licence does not allow sharing them (`TaskCard.withheld`).
    """
    files: dict[str, bytes] = {}
    names, withheld = set(), []
    for result_folder, result in read_whole_results(folder).items():
        names.add(result.upstream.name)
        name = name_of(result)
        if f"{name}/result.json" in files:
            raise BadResult(f"{folder} contains two results of {name}; bundle them one by one.")
        files[f"{name}/result.json"] = result.to_json().encode()
        if without_references and task_of(result).card.withheld:
            withheld.append(name)
            files[f"{name}/{PREDICTIONS}"] = _unlabelled(read_predictions(result_folder / PREDICTIONS))
        else:
            files[f"{name}/{PREDICTIONS}"] = (result_folder / PREDICTIONS).read_bytes()
    if len(names) > 1:
        raise BadResult(f"{folder} contains results of several upstreams ({', '.join(sorted(names))}); bundle them one by one.")
    manifest = {
        "schema": 1,
        "superbench": __version__,
        "upstream": names.pop(),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
        "withheld": sorted(withheld),
    }
    return _packed(manifest, files)


def _unlabelled(predictions: Sequence[Prediction]) -> bytes:
    return pack([replace(prediction, reference=None, also={}) for prediction in predictions])


def _packed(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> bytes:
    head = (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode()
    return packed({MANIFEST: head, **{name: files[name] for name in sorted(files)}})


# ---------------------------------------------------------------- opening


def open_bundle(data: bytes) -> Bundle:
    """Unpacks a bundle and checks names, sizes, hashes and schema. Raises a `Refusal` with the reason."""
    files = unpacked(data, lambda name: name == MANIFEST or _MEMBER.fullmatch(name))
    manifest = _manifest(files.pop(MANIFEST, None))
    listed = manifest["files"]
    if set(listed) != set(files):
        differing = ", ".join(sorted(set(listed) ^ set(files)))
        raise Malformed(f"The bundle's manifest and its files differ: {differing:.300}. Make the bundle again.", "manifest")
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != listed[name]:
            raise Malformed(
                f"{name} in the bundle was changed after it was made (its SHA-256 differs). Make the bundle again.", "changed"
            )
    entries = {name: _entry(name, files, manifest) for name in sorted({member.rpartition("/")[0] for member in files})}
    if not entries:
        raise Malformed("The bundle contains no result. Make one with `superbench submit`.", "empty")
    return Bundle(manifest["upstream"], entries, _digest(manifest), _packed(manifest, files))


def _manifest(content: bytes | None) -> dict[str, Any]:
    if content is None:
        raise Malformed(f"The bundle lacks {MANIFEST}. Make a bundle with `superbench submit`.", "manifest")
    value = strict_json.loads(content, f"The bundle has no usable {MANIFEST}: it")
    types = {"schema": int, "superbench": str, "upstream": str, "files": dict}
    wrong = not isinstance(value, dict) or any(not isinstance(value.get(key), expected) for key, expected in types.items())
    if wrong or value["schema"] != 1 or set(value) - _FIELDS or not isinstance(value.setdefault("withheld", []), list):
        raise Malformed(
            f"The bundle has no usable {MANIFEST}: expected schema 1 with the fields {', '.join(sorted(_FIELDS))}. "
            "Make the bundle again, or update this superbench.",
            "manifest",
        )
    strict_json.name(value["upstream"], "The upstream's name")
    require_legible(value["upstream"], "The upstream's name")
    strict_json.name(value["superbench"], "The version in the manifest")
    return dict(value)


def name_and_digest(file: Path | BinaryIO) -> tuple[str, str] | None:
    """Returns the upstream's name and the digest from a bundle's manifest; None for a file that is no bundle.

    Nothing except the manifest is read or checked.
    """
    try:
        with zipfile.ZipFile(file) as archive, archive.open(MANIFEST) as member:
            manifest = _manifest(member.read(LARGEST_RESULT))
        return manifest["upstream"], _digest(manifest)
    except Exception:  # a folder may hold any file
        return None


def _digest(manifest: Mapping[str, Any]) -> str:
    facts = [manifest["upstream"], sorted(manifest["files"].items()), manifest["withheld"]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _entry(name: str, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> Entry:
    names = [f"{name}/result.json", f"{name}/{PREDICTIONS}"]
    if missing := [name for name in names if name not in files]:
        raise Malformed(f"The bundle lacks {missing[0]}. Make the bundle again.", "manifest")
    result = parse_result(files[names[0]], names[0])
    for what, found, expected in (
        ("of the task", name_of(result), name), ("of the model", result.upstream.name, manifest["upstream"])
    ):  # fmt: skip
        if found != expected:
            source = "its folder" if expected is name else f"the {MANIFEST}"
            raise Refusal(f"{names[0]} is {what} {found!r}, but {source} says {expected!r}. Make the bundle again.", "mixed")
    return Entry(result, files[names[1]], name in manifest["withheld"])


def parse_result(content: bytes, where: str) -> Result:
    """Returns the result in `content`; raises `Malformed` if it is not JSON, `Refusal` if it is no result of schema 1 or 2."""
    if len(content) > LARGEST_RESULT:
        raise Malformed(f"{where} has {len(content) / 1e6:.0f} MB; a result has less than {LARGEST_RESULT / 1e6:.0f}.", "size")
    value = strict_json.loads(content, where)
    try:
        result = Result.model_validate(value)
    except ValidationError as error:
        raise Refusal(
            f"{where} is not a result of schema 1 or 2: {first_fault(error)}. Run the task again.", "schema"
        ) from error
    for part in (result.upstream.name, result.upstream.revision, result.data.fingerprint):
        strict_json.name(part, f"{where}: a name")
    return result


def predictions_of(content: bytes, where: str) -> list[Prediction]:
    """Returns the predictions in an unpacked predictions file; raises `Malformed`."""
    lines = content.decode("utf8", "replace").split("\n")
    if lines.pop() or len(lines) > MOST_PREDICTIONS:
        raise Malformed(f"{where} is cut off, or has more than {MOST_PREDICTIONS} lines. Make the bundle again.", "predictions")
    return [_prediction(strict_json.loads(line, where), where) for line in lines]


def _prediction(line: Any, where: str) -> Prediction:
    if not isinstance(line, dict) or line.keys() - {"also"} - _EPISODE != _LINE:
        raise Malformed(f"{where}: expected lines with {', '.join(sorted(_LINE))}, found {line!r:.200}.", "predictions")
    identity, fold, group = line["id"], line["fold"], line["group"]
    typed = isinstance(identity, str) and isinstance(fold, str) and isinstance(group, list)
    if not typed or not all(isinstance(name, str) for name in group):
        raise Malformed(f"{where}: id and fold must be texts, group a list of texts; found {line!r:.200}.", "predictions")
    if len(identity) > LONGEST_ID or len(fold) > LONGEST_ID:
        raise Malformed(f"{where}: ids and folds have at most {LONGEST_ID} characters; found {identity:.100}.", "predictions")
    also = line.get("also", {})
    if not isinstance(also, dict):
        raise Malformed(
            f"{where}: `also` must be an object with the outputs of other decoders by name; found {also!r:.200}.", "predictions"
        )
    k, draw = _episode(line, where)
    return Prediction(
        id=identity, fold=fold, group=tuple(group), reference=line["reference"], prediction=line["prediction"], also=also, k=k,
        draw=draw,
    )  # fmt: skip


def _episode(line: Mapping[str, Any], where: str) -> tuple[Shots | None, int | None]:
    """Returns the number of examples and the draw of a prediction; None for both if heads were trained."""
    if not line.keys() & _EPISODE:
        return None, None
    k, draw = line.get("k"), line.get("draw")
    whole = k == "all" or (type(k) is int and 0 <= k <= MOST_SHOTS)
    if not whole or type(draw) is not int or not 0 <= draw < MOST_DRAWS:
        raise Malformed(
            f"{where}: k must be a number of examples or all, draw a number below {MOST_DRAWS}; found {line!r:.200}.",
            "predictions",
        )
    return k, draw


def one_per_upstream(folders: Path | Sequence[Path], without_references: bool) -> list[tuple[str, bytes | Refusal]]:
    """Returns a bundle, with the upstream's name, for every upstream with results in one of `folders` or below it; for results
    that cannot be packed, such as edited ones, the reason.

    A file is a bundle. If a bundle has no valid name, its file or folder gives the name. Raises `BadResult` for a folder
    without results.
    """
    found: dict[Path, bytes | Refusal] = {}
    for folder in [folders] if isinstance(folders, Path) else folders:
        if folder.is_file():
            found[folder] = folder.read_bytes()
            continue
        for path in sorted({_upstream_folder(path, folder) for path in require_results(folder)}):
            try:
                found[path] = pack_bundle(path, without_references=without_references)
            except BadResult as error:
                found[path] = Malformed(str(error), "damaged")
    return [(_name_in(data) or path.name, data) for path, data in found.items()]


def _name_in(data: bytes | Refusal) -> str:
    known = None if isinstance(data, Refusal) else name_and_digest(io.BytesIO(data))
    return known[0] if known else ""


def sendable(data: bytes | Refusal) -> bytes:
    """Returns a bundle; raises the reason why there is none."""
    if isinstance(data, Refusal):
        raise data
    return data


def _upstream_folder(result_folder: Path, root: Path) -> Path:
    """Returns the folder of the upstream that a result below `root` belongs to; `root` if that lies above it."""
    found = result_folder.parents[1 if result_folder.name in UNTRAINED else 0]
    return found if root == found or root in found.parents else root
