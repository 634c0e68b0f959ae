"""Checks whether a corpus is complete: its lists, every sound file that they name, and the published counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from superbench.contract import Task
from superbench.contract.corpora import Corpora
from superbench.data.audio import checked, decode
from superbench.data.fingerprint import splits_of
from superbench.data.passport import Passport, passport_of
from superbench.errors import FIRST, BadAudio, IncompleteCorpus, MissingCorpus, MissingFiles, SuperbenchError, first_of
from superbench.system.progress import Reporter

READERS = 16
"""Threads that read headers. They are more than the processors, since they wait for the disk."""
AT_ONCE = 32
"""Files that a thread checks before it reports progress."""

MANY = 12
"""Largest number of differing counts in a remark; the passport contains all of them."""

State = Literal["complete", "differs", "damaged", "incomplete", "absent"]
Look = tuple[int, int] | str
"""Samples and sample rate of a file, or a message about its fault."""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The result of checking one task's corpus.

    State `differs`: other counts or sample rates than published (or than written, for a miniature). `damaged`: files or lines
    cannot be used. `incomplete`: a split, a list or a lexicon is missing. `remarks` describe the faults in one or two sentences
    each, followed by the remarks of the corpus reader. There is no passport if the lists could not be read.
    """

    task: str
    corpus: str
    state: State
    remarks: tuple[str, ...] = ()
    passport: Passport | None = None


@dataclass(slots=True)
class Inspector:
    """Checks the corpora of tasks one after the other. Files that tasks share are read once.

    `deep`: decode all sound, instead of comparing headers with file sizes.
    """

    corpora: Corpora
    reporter: Reporter
    deep: bool = False
    _looks: dict[Path, Look] = field(default_factory=dict)

    def inspect(self, task: Task) -> Inspection:
        """Checks one task's corpus. Faults are returned and not raised, so that other corpora are checked too."""
        card, corpora = task.card, self.corpora.for_task(miniature=task.synth is not None)
        self.reporter.advance(f"{card.name}: lists", 0, 1)
        try:
            folds = task.read(corpora)
        except IncompleteCorpus as error:
            return Inspection(card.name, card.corpus, "incomplete", (str(error),))
        except MissingCorpus as error:
            return Inspection(card.name, card.corpus, "absent", (str(error),))
        except SuperbenchError as error:
            return Inspection(card.name, card.corpus, "damaged", (str(error),))
        except Exception as error:
            remark = f"Its reader failed with {type(error).__name__}: {error}. A list may be damaged, or the reader is wrong."
            return Inspection(card.name, card.corpus, "damaged", (remark,))
        self.reporter.advance(f"{card.name}: lists", 1, 1)
        paths = list(dict.fromkeys(item.audio.path for _, split in splits_of(folds) for item in split.items))
        looks = self._look_at(paths, card.name)
        damage = list(_damage(looks, card.corpus)) if paths else ["Its lists name no sound files."]
        lengths = {path: look for path, look in looks.items() if not isinstance(look, str)}
        passport = passport_of(card, folds, lengths, corpora)
        odd = [path for path, (_, rate) in lengths.items() if card.sample_rate not in (None, rate)]
        remarks = damage + _rates(odd, len(paths), {lengths[path][1] for path in odd}, card.sample_rate)
        if passport.differences:
            than = "written" if passport.miniature else "published"
            remarks.append(f"Not as {than}: {first_of(passport.differences, MANY, '; ')}.")
        state: State = "damaged" if damage else "differs" if remarks else "complete"
        return Inspection(
            task=card.name,
            corpus=card.corpus,
            state=state,
            remarks=(*remarks, *(f"{remark}." for remark in passport.remarks)),
            passport=passport,
        )

    def _look_at(self, paths: Sequence[Path], name: str) -> dict[Path, Look]:
        """Checks every file, in several threads. Files of an earlier task are not checked again."""
        left = [path for path in paths if path not in self._looks]
        chunks = [left[at : at + AT_ONCE] for at in range(0, len(left), AT_ONCE)]
        done = 0
        with ThreadPoolExecutor(READERS) as readers:
            for chunk, looks in zip(
                chunks, readers.map(lambda chunk: [look(path, self.deep) for path in chunk], chunks), strict=True
            ):
                self._looks |= zip(chunk, looks, strict=True)
                done += len(chunk)
                self.reporter.advance(f"{name}: {'sound' if self.deep else 'headers'}", done, len(left))
        return {path: self._looks[path] for path in paths}


def look(path: Path, deep: bool) -> Look:
    """Returns samples and rate of a sound file, or a message about its fault; `deep` decodes all of it.

    The header is compared with the file size. Headers of compressed files do not allow this, so their end is decoded.
    """
    if not path.is_file():
        return ABSENT
    try:
        samples, rate = checked(path)
        if not samples:
            return f"{path} holds no samples. Fetch the file again, or take it out of the corpus lists."
        if deep:
            decode(path)
    except BadAudio as error:
        return str(error)
    return samples, rate


ABSENT = "absent"


def _damage(looks: dict[Path, Look], corpus: str) -> Iterator[str]:
    """Yields one remark for all missing files, then one for each of the first unusable files, then the number of the others."""
    if absent := [path for path, look in looks.items() if look == ABSENT]:
        yield str(MissingFiles(absent, len(looks), corpus, "Complete the corpus, or correct its lists."))
    bad = [look for look in looks.values() if isinstance(look, str) and look != ABSENT]
    yield from bad[:FIRST]
    if len(bad) > FIRST:
        yield f"{len(bad) - FIRST} more files of {len(looks)} cannot be used."


def _rates(odd: Sequence[Path], of: int, rates: Iterable[int], published: int | None) -> list[str]:
    if not odd:
        return []
    hertz = " or ".join(str(rate) for rate in sorted(rates))
    verb = "is" if len(odd) == 1 else "are"
    return [
        f"{len(odd)} of {of} files {verb} at {hertz} Hz, published at {published} Hz, and would be resampled: {first_of(odd)}."
    ]
