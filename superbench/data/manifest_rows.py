"""The rows of a list of sounds, in each of its formats; see `manifest`."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superbench.contract import SAMPLE_RATE
from superbench.contract.text import read_text
from superbench.errors import BadCorpus

COLUMNS = ("path", "label", "split", "speaker")
NAMES = {"train": "train", "dev": "dev", "test": "test", "valid": "dev", "validation": "dev", "val": "dev", "eval": "test"}
SPLITS = "a split is train, dev (or valid, validation, val) or test (or eval)"
KALDI = "wav.scp, utt2spk, and text or utt2label"


@dataclass(frozen=True, slots=True)
class Row:
    """One sound: file, label, split, speaker, and the list and line that name it. `start` and `end` are samples at 16 kHz."""

    id: str
    path: Path
    label: str
    split: str
    speaker: str
    listing: Path
    line: int
    start: int = 0
    end: int | None = None

    @property
    def place(self) -> str:
        """List and line, as a message names them."""
        return f"{self.listing}, line {self.line}"


def rows_of(path: Path) -> Iterator[Row]:
    """Yields the rows of a table, of JSON lines or of a Kaldi folder; raises `BadCorpus`."""
    if path.is_dir():
        return _of_kaldi(path)
    if not path.exists():
        raise BadCorpus(f"{path} is not there. Expected a table (.csv, .tsv), JSON lines (.jsonl) or a folder of Kaldi.")
    readers = {".csv": _of_table, ".tsv": _of_table, ".jsonl": _of_json}
    if path.suffix.lower() not in readers:
        raise BadCorpus(f"{path} has the suffix {path.suffix!r}. Expected .csv, .tsv or .jsonl, or a folder of Kaldi.")
    return readers[path.suffix.lower()](path)


def _row(listing: Path, line: int, fields: Mapping[str, Any]) -> Row:
    values = {}
    for column in COLUMNS:
        value = fields.get(column)
        text = str(value).strip() if isinstance(value, (str, int, float)) and not isinstance(value, bool) else ""
        if not text:
            found = f"found {value!r:.60}" if value not in (None, "") else "it is empty"
            raise BadCorpus(f"{listing}, line {line}: expected a text as {column}, {found}. Fill in the field.")
        values[column] = text
    split = _split(values["split"], f"{listing}, line {line}")
    return Row(
        id=values["path"], path=listing.parent / values["path"], label=values["label"], split=split,
        speaker=values["speaker"], listing=listing, line=line,
    )  # fmt: skip


def _split(name: str, place: str) -> str:
    if name.lower() not in NAMES:
        raise BadCorpus(f"{place}: found the split {name!r}; {SPLITS}. Correct the split.")
    return NAMES[name.lower()]


# ---------------------------------------------------------------- tables and JSON lines


def _of_table(path: Path) -> Iterator[Row]:
    lines = read_text(path).split("\n")
    reader = csv.reader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
    header: list[str] = []
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if not header:
                header = [field.strip().lower() for field in fields]
                _check_columns(path, reader.line_num, header)
            elif len(fields) != len(header):
                raise BadCorpus(
                    f"{path}, line {reader.line_num}: expected {len(header)} fields, found {len(fields)}. "
                    'Put a field that has commas between quotation marks (").'
                )
            else:
                yield _row(path, reader.line_num, dict(zip(header, fields, strict=True)))
    except csv.Error as error:
        raise BadCorpus(
            f"{path}, line {reader.line_num}: not a line of a table: {error}. Correct its quotation marks."
        ) from error


def _check_columns(path: Path, line: int, header: list[str]) -> None:
    if twice := [column for column in COLUMNS if header.count(column) > 1]:
        raise BadCorpus(f"{path}, line {line}: the header has the column {twice[0]} twice. Rename one of them.")
    if missing := [column for column in COLUMNS if column not in header]:
        hint = " If speakers are not known, repeat the path in the column speaker." if missing == ["speaker"] else ""
        if len(header) == 1 and (other := next((sign for sign in ";\t|" if sign in header[0]), "")):
            hint = f" The fields are separated by {other!r}; save the table with commas, or as .tsv with tabs."
        raise BadCorpus(
            f"{path}, line {line}: the header has no column {' and no column '.join(missing)}; it has "
            f"{', '.join(header):.200}. Expected {', '.join(COLUMNS)}.{hint}"
        )


def _of_json(path: Path) -> Iterator[Row]:
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
        except ValueError as error:
            raise BadCorpus(f"{path}, line {number}: not a line of JSON: {error}. Write one object a line.") from error
        if not isinstance(fields, dict):
            raise BadCorpus(f"{path}, line {number}: expected an object with {', '.join(COLUMNS)}, found {line:.60}.")
        if missing := [column for column in COLUMNS if column not in fields]:
            raise BadCorpus(
                f"{path}, line {number}: it has no {' and no '.join(missing)}; it has {', '.join(map(str, fields)):.200}. "
                f"Expected {', '.join(COLUMNS)}."
            )
        yield _row(path, number, fields)


# ---------------------------------------------------------------- Kaldi


def _of_kaldi(root: Path) -> Iterator[Row]:
    folders = sorted(path for path in root.iterdir() if path.is_dir() and path.name.lower() in NAMES)
    if not folders:
        raise BadCorpus(f"{root} has no folder of a split. Expected folders train, dev and test, each with {KALDI}; {SPLITS}.")
    for folder in folders:
        yield from _of_split(folder, NAMES[folder.name.lower()])


def _of_split(folder: Path, split: str) -> Iterator[Row]:
    labels = folder / ("utt2label" if (folder / "utt2label").is_file() else "text")
    for needed in ("wav.scp", labels.name, "utt2spk"):
        if not (folder / needed).is_file():
            raise BadCorpus(f"{folder / needed} is not there. Expected {KALDI} in {folder}.")
    sounds, speakers = _pairs(folder / "wav.scp"), _pairs(folder / "utt2spk")
    pieces = _pairs(folder / "segments") if (folder / "segments").is_file() else None
    for utterance, (line, label) in _pairs(labels).items():
        place = f"{labels}, line {line}"
        recording, start, end = _piece(folder, utterance, pieces, place)
        for name, pairs in ((recording, sounds), (utterance, speakers)):
            if name not in pairs:
                listing = "wav.scp" if pairs is sounds else "utt2spk"
                raise BadCorpus(f"{place}: {name} is not in {folder / listing}. Add it there, or remove the line.")
        if not label:
            raise BadCorpus(f"{place}: expected a label after {utterance}, it is empty. Fill it in, or remove the line.")
        yield Row(
            id=utterance, path=_sound(folder, *sounds[recording]), label=label, split=split, speaker=speakers[utterance][1],
            listing=labels, line=line, start=start, end=end,
        )  # fmt: skip


def _sound(folder: Path, line: int, text: str) -> Path:
    if text.endswith("|"):
        raise BadCorpus(
            f"{folder / 'wav.scp'}, line {line}: found a command ({text:.60}), expected the path of a sound file. Commands are "
            "not run: write the sounds to files first (wav-copy), and list these."
        )
    return folder / text


def _piece(folder: Path, utterance: str, pieces: dict[str, tuple[int, str]] | None, place: str) -> tuple[str, int, int | None]:
    """Returns the recording of an utterance, and the samples between which it lies."""
    if pieces is None:
        return utterance, 0, None
    if utterance not in pieces:
        raise BadCorpus(f"{place}: {utterance} is not in {folder / 'segments'}. Add it there, or remove the line.")
    line, text = pieces[utterance]
    try:
        recording, start, end = text.split()
        first, last = round(float(start) * SAMPLE_RATE), round(float(end) * SAMPLE_RATE)
    except ValueError as error:
        raise BadCorpus(
            f"{folder / 'segments'}, line {line}: expected UTTERANCE RECORDING START END in seconds, found {text!r:.80}."
        ) from error
    if not 0 <= first < last:
        raise BadCorpus(f"{folder / 'segments'}, line {line}: expected 0 ≤ start < end, found {start} and {end}.")
    return recording, first, last


def _pairs(path: Path) -> dict[str, tuple[int, str]]:
    """Returns the line and the rest of each line by its first word."""
    pairs: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        name, *rest = line.split(maxsplit=1)
        if name in pairs:
            raise BadCorpus(f"{path}, line {number}: {name} is listed twice, first in line {pairs[name][0]}.")
        pairs[name] = (number, rest[0].strip() if rest else "")
    return pairs
