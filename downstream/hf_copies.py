"""Writes corpora in their original layout from a copy of `superb` on the Hugging Face hub: parquet files that contain the
sound.

Configurations: `asr` (LibriSpeech), `ks` (Speech Commands), `si` (VoxCeleb1), `ic` (Fluent Speech Commands). Others lack what
a task needs: `er` has no sessions' transcripts, `sd` no names of its mixtures. The bytes of every sound are written unchanged.
Source: https://huggingface.co/datasets/s3prl/superb (its features, and the paths in the column `file`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from downstream.shared.spoken_commands import TEST, TRAIN
from superbench import BadCorpus, MissingExtra

Row = Mapping[str, Any]
Advance = Callable[[int, int], object]
SPLITS = {"train": "train", "validation": "dev", "dev": "dev", "test": "test"}
BATCH = 64
LIBRISPEECH = {"train": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}
FORMATS = {b"fLaC": ".flac", b"RIFF": ".wav", b"OggS": ".ogg"}


@dataclass(slots=True)
class Imported:
    """The files to write beside the sounds: path below the root -> lines. `sounds`: how many were written."""

    root: Path
    lists: dict[str, list[str]] = field(default_factory=dict)
    sounds: int = 0

    def sound(self, path: str, data: bytes) -> str:
        """Writes a sound under the suffix of its format; returns its path below the root."""
        target = self.root / path
        target = target.with_suffix(FORMATS.get(data[:4], target.suffix))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self.sounds += 1
        return str(target.relative_to(self.root))

    def finish(self) -> None:
        """Writes the lists, each sorted."""
        for name, lines in self.lists.items():
            head, body = (lines[:1], lines[1:]) if name.endswith(".csv") else ([], lines)
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text("".join(f"{line}\n" for line in [*head, *sorted(body)]), encoding="utf-8")


def import_copy(source: Path, out: Path, advance: Advance = lambda done, total: None) -> dict[str, int]:
    """Writes the corpora of all parquet files under `source` below `out`; returns the number of sounds by corpus and split.

    Raises `MissingExtra` without pyarrow, `BadCorpus` for a folder without parquet files and for a table of another form.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtra("Importing a copy of a Hugging Face data set", "pyarrow", "parquet") from error

    files = sorted(source.rglob("*.parquet")) if source.is_dir() else []
    if not files:
        raise BadCorpus(f"{source} contains no .parquet file. Give the folder of a copy of the data set with its sound.")
    tables, counts, imported = [parquet.ParquetFile(path) for path in files], dict[str, int](), Imported(out)
    total, done = sum(table.metadata.num_rows for table in tables), 0
    for path, table in zip(files, tables, strict=True):
        names = _label_names(table.schema_arrow.metadata or {})
        split = split_of(path.relative_to(source))
        kind = kind_of(table.schema_arrow.names, names, path)
        for batch in table.iter_batches(BATCH):
            rows = batch.to_pylist()
            write_rows(kind, split, (_named(row, names) for row in rows), imported, path)
            done += len(rows)
            advance(done, total)
        counts[f"{kind} {split}"] = counts.get(f"{kind} {split}", 0) + table.metadata.num_rows
    imported.finish()
    return counts


def split_of(path: Path) -> str:
    """Returns the split that a file belongs to, from its name or those of its folders; raises `BadCorpus`.

    >>> split_of(Path("ks/validation-00000-of-00001.parquet")), split_of(Path("asr/test/0000.parquet"))
    ('dev', 'test')
    """
    for part in reversed(path.parts):
        for name, split in SPLITS.items():
            if re.match(rf"(\w*[-_.])?{name}\b", part):
                return split
    raise BadCorpus(f"{path}: neither the file nor its folder is named after a split (train, validation, test). Rename it.")


def kind_of(columns: Sequence[str], labels: Mapping[str, Sequence[str]], path: Path) -> str:
    """Returns the configuration of a table: `asr`, `ks`, `si` or `ic`; raises `BadCorpus` for any other."""
    if not {"audio", "file"} <= set(columns):
        raise BadCorpus(f"{path} has the columns {', '.join(columns):.200}; expected file, audio and others of `superb`.")
    if "chapter_id" in columns:
        return "asr"
    if "action" in columns:
        return "ic"
    classes = labels.get("label", ())
    if "_silence_" in classes:
        return "ks"
    if classes and all(re.fullmatch(r"id1\d{4}", name) for name in classes):
        return "si"
    raise BadCorpus(
        f"{path} is of a configuration that is not imported: its columns are {', '.join(columns):.200}. These are imported: "
        "asr, ks, si, ic."
    )


def write_rows(kind: str, split: str, rows: Iterable[Row], imported: Imported, path: Path) -> None:
    """Writes the sounds of rows, and notes the lines of their lists; raises `BadCorpus` for a row without sound."""
    for row in rows:
        audio = row["audio"]
        if not isinstance(audio, Mapping) or not audio.get("bytes"):
            raise BadCorpus(
                f"{path}: the row of {str(row.get('file'))!r:.100} has no sound, only its path. Make the copy with the sound: "
                "dataset.to_parquet(...) after dataset.cast_column('audio', Audio(decode=False)) embeds it."
            )
        WRITERS[kind](row, audio["bytes"], split, imported)


def _asr(row: Row, data: bytes, split: str, imported: Imported) -> None:
    speaker, chapter, _ = parts = _fields(r"(\d+)-(\d+)-(\d+)", str(row["id"]))
    folder = f"LibriSpeech/{LIBRISPEECH[split]}/{speaker}/{chapter}"
    imported.sound(f"{folder}/{'-'.join(parts)}.flac", data)
    imported.lists.setdefault(f"{folder}/{speaker}-{chapter}.trans.txt", []).append(f"{row['id']} {row['text']}")


def _ks(row: Row, data: bytes, split: str, imported: Imported) -> None:
    folder, name = _fields(r"(?:.*/)?([A-Za-z_]+)/([A-Za-z0-9_-]+\.wav)", str(row["file"]))
    imported.sound(f"SpeechCommands/{TEST if split == 'test' else TRAIN}/{folder}/{name}", data)


def _si(row: Row, data: bytes, split: str, imported: Imported) -> None:
    name = "/".join(_fields(r"(?:.*/)?(id1\d{4})/([A-Za-z0-9_-]+)/(\d+\.wav)", str(row["file"])))
    imported.sound(f"VoxCeleb1/wav/{name}", data)
    number = {"train": 1, "dev": 2, "test": 3}[split]
    imported.lists.setdefault("VoxCeleb1/iden_split.txt", []).append(f"{number} {name}")


def _ic(row: Row, data: bytes, split: str, imported: Imported) -> None:
    speaker, name = _fields(r"(?:.*/)?speakers/([A-Za-z0-9_-]+)/([A-Za-z0-9_-]+\.wav)", str(row["file"]))
    root, path = "fluent_speech_commands_dataset", f"wavs/speakers/{speaker}/{name}"
    imported.sound(f"{root}/{path}", data)
    listing = f"{root}/data/{ {'train': 'train', 'dev': 'valid', 'test': 'test'}[split] }_data.csv"
    lines = imported.lists.setdefault(listing, [",path,speakerId,transcription,action,object,location"])
    fields = [len(lines) - 1, path, speaker, row.get("text", ""), row["action"], row["object"], row["location"]]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(fields)
    lines.append(buffer.getvalue())


WRITERS: Mapping[str, Callable[[Row, bytes, str, Imported], None]] = {"asr": _asr, "ks": _ks, "si": _si, "ic": _ic}


def _fields(pattern: str, text: str) -> tuple[str, ...]:
    """Returns the parts of a name; only names of the published form are written, so that no file lies outside the root."""
    found = re.fullmatch(pattern, text)
    if found is None:
        raise BadCorpus(f"Found the name {text!r:.200}; expected one such as in the published corpus ({pattern}).")
    return found.groups()


def _label_names(metadata: Mapping[bytes, bytes]) -> dict[str, list[str]]:
    """Returns the names of the classes of each column, from the metadata that `datasets` writes."""
    features = json.loads(metadata.get(b"huggingface", b"{}")).get("info", {}).get("features", {})
    return {name: list(kind["names"]) for name, kind in features.items() if isinstance(kind, dict) and "names" in kind}


def _named(row: Row, names: Mapping[str, Sequence[str]]) -> Row:
    """Returns the row with names of classes in place of their numbers."""
    return {key: names[key][value] if key in names and isinstance(value, int) else value for key, value in row.items()}
