"""Reads a person's own corpus from a list: a table (.csv, .tsv), JSON lines (.jsonl), or folders in the layout of Kaldi.

A table has the columns path, label, split and speaker. Paths are relative to the folder of the list. A Kaldi folder has a
folder for each split (train, dev, test) with `wav.scp`, `utt2spk`, one of `text` and `utt2label`, and, if sounds are cut,
`segments`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from superbench.contract import Audio, Fold, Item, Split
from superbench.data.manifest_rows import SPLITS, Row, rows_of
from superbench.errors import BadCorpus, first_of

SIDES = ("train", "dev", "test")


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rows of a list, in its order. All splits have rows, no sound is listed twice, and every file exists."""

    path: Path
    rows: tuple[Row, ...]

    def of(self, split: str) -> list[Row]:
        """Returns the rows of a split."""
        return [row for row in self.rows if row.split == split]

    def fold(self, *, remarks: Sequence[str] = ()) -> Fold:
        """Returns the fold of all rows; ids are paths (of Kaldi: utterances), the group of an item is its speaker."""
        train, dev, test = (Split(name, tuple(map(item_of, self.of(name)))) for name in SIDES)  # type: ignore[arg-type]
        return Fold("all", train, dev, test, remarks=tuple(remarks))

    def label_remarks(self, labels_of: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
        """Checks that train has an example of every label of dev and test; `labels_of` maps the id of a row to its labels.

        Returns a remark on each split that lacks labels of train. Raises `BadCorpus`, with the line.
        """
        known = {label for row in self.of("train") for label in labels_of[row.id]}
        remarks = []
        for split in ("dev", "test"):
            seen: set[str] = set()
            for row in self.of(split):
                seen.update(labels_of[row.id])
                for label in labels_of[row.id]:
                    if label not in known:
                        raise BadCorpus(
                            f"{row.place}: the label {label!r} is in {split}, but train has no example of it. Move some of its "
                            "sounds to train, or correct the label."
                        )
            if lacking := sorted(known - seen):
                remarks.append(f"{split} has no example of {first_of(lacking)}")
        return tuple(remarks)


def item_of(row: Row) -> Item:
    """Returns the item of a row."""
    return Item(row.id, Audio(row.path, start=row.start, end=row.end), row.label, (row.speaker,))


def read_manifest(path: Path | str, *, shared_speakers: bool = False) -> Manifest:
    """Reads a list and checks it; `shared_speakers` allows speakers in train who are in dev or test too.

    Raises `BadCorpus`, with the line, for a column that is missing, an unknown split, an empty field, a file that does not
    exist, a sound that is listed twice, a split without rows, and a speaker in train and in another split.
    """
    path = Path(path)
    rows = tuple(rows_of(path))
    if not rows:
        empty = "it has no row below its header"
        if path.is_dir() or not path.stat().st_size:
            empty = "its splits have no lines in wav.scp" if path.is_dir() else "the file is empty"
        raise BadCorpus(f"{path} lists no sound: {empty}. Add one for each sound.")
    _only_once(rows)
    _files_exist(rows)
    for split in SIDES:
        if not any(row.split == split for row in rows):
            raise BadCorpus(f"{path} has no row of the split {split}. Expected rows of train, dev and test; {SPLITS}.")
    if not shared_speakers:
        _no_shared_speaker(rows)
    return Manifest(path, rows)


def _only_once(rows: Iterable[Row]) -> None:
    by_sound: dict[tuple[Path, int, int | None], Row] = {}
    by_id: dict[str, Row] = {}
    for row in rows:
        first = by_sound.setdefault((row.path, row.start, row.end), row)
        if first is not row:
            raise BadCorpus(f"{row.place}: {row.id} is listed twice, first in line {first.line}. Remove one of the lines.")
        first = by_id.setdefault(row.id, row)
        if first is not row:
            raise BadCorpus(f"{row.place}: the id {row.id} is that of line {first.line} too. Give every sound its own id.")


def _files_exist(rows: Sequence[Row]) -> None:
    missing = [row for row in rows if not row.path.is_file()]
    if missing:
        others = f" {len(missing)} of the {len(rows)} files are missing." if len(missing) > 1 else ""
        raise BadCorpus(
            f"{missing[0].place}: {missing[0].path} is not there.{others} Paths are relative to the folder of the list; "
            "correct the path, or put the file there."
        )


def _no_shared_speaker(rows: Iterable[Row]) -> None:
    """Raises `BadCorpus` for a speaker of train in dev or test: a score would partly measure that the speaker is known."""
    trained: dict[str, Row] = {}
    for row in rows:
        if row.split == "train":
            trained.setdefault(row.speaker, row)
    shared = {row.speaker: row for row in rows if row.split != "train" and row.speaker in trained}
    if shared:
        row = next(iter(shared.values()))
        more = f" (and {len(shared) - 1} more speakers)" if len(shared) > 1 else ""
        raise BadCorpus(
            f"{row.place}: the speaker {row.speaker!r} is in {row.split}, and in train in line {trained[row.speaker].line}"
            f"{more}. Give all sounds of a speaker one split; if they shall be shared, say so: shared_speakers=True in the "
            "task file (`superbench task new --shared-speakers`)."
        )
