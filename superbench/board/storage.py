"""A board: accepted bundles in a folder or a database, each of them scored again before it came in.

A submission is accepted whole or refused with the reason; the board is then as it was. A newer bundle of an upstream stands in
place of the older one where both have a task; history is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superbench.board import contents, page, ranking
from superbench.board.bundle import Bundle, Entry, one_per_upstream, open_bundle
from superbench.board.details import Answers
from superbench.board.evidence import Evidence
from superbench.board.folder import FolderShelf
from superbench.board.published import published, superseded
from superbench.board.references import References
from superbench.board.shelf import Held, Reading, Shelf, Writing, event, now
from superbench.board.verify import examine, examine_entry
from superbench.errors import BadResult, CommandError, Conflict, Refusal
from superbench.files import require_place, write_text
from superbench.results import find_results, read_predictions, read_result
from superbench.schema import Result

DATABASE_FILES = {".db", ".sqlite", ".sqlite3"}
Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a submission. `fresh` is False where the very same bundle was there already."""

    upstream: str
    tasks: tuple[str, ...]
    place: str
    fresh: bool
    digest: str = ""


@dataclass(frozen=True)
class Examined:
    """A bundle whose every score was found true, with the evidence by task: ready to be accepted."""

    bundle: Bundle
    evidence: Mapping[str, Evidence]


def shelf_at(address: Path | str) -> Shelf:
    """A folder; a database by URL; an SQLite file by its suffix (.db, .sqlite). Raises `CommandError`."""
    text = str(address)
    if re.match(r"https?://", text):
        raise CommandError(f"{text}: this is a board's page. Submit to it with --token; only its keeper has its storage.")
    if re.match(r"[a-z0-9+]+://", text) or Path(text).suffix in DATABASE_FILES:
        from superbench.board.database import DatabaseShelf

        return DatabaseShelf(text if "://" in text else f"sqlite:///{text}")
    return FolderShelf(Path(address))


class Board:
    """The board at `address`: a folder, `sqlite:///FILE` (or FILE.db), `postgresql://USER@HOST/NAME`; writing makes it."""

    def __init__(self, address: Path | str) -> None:
        self.shelf = shelf_at(address)

    # ------------------------------------------------------------ submissions

    def submit(self, folder: Path, *, by: str = "", without_references: bool = False) -> list[Receipt]:
        """Bundle, verify and accept every upstream's results under `folder`; nothing is accepted if one is refused.

        `folder` is what `superbench run --out` wrote, one upstream's folder in it, or a bundle. Raises `BadResult` with all
        reasons.
        """
        bundles = [open_bundle(data) for data in one_per_upstream(folder, without_references)]
        ready, refused = [], []
        for bundle in bundles:
            try:
                ready.append(Examined(bundle, examine(bundle, self.known)))
            except Refusal as error:
                refused.append((error, f"{bundle.upstream}: {error}"))
        if refused:
            text = "The board refuses this submission, nothing was added. " + "; ".join(reason for _, reason in refused) + "."
            raise type(refused[0][0])(text, refused[0][0].code)
        with self.shelf.writing() as writer:
            return [self._accept(writer, one, by, again=True) for one in ready]

    def examine(self, data: bytes) -> Examined:
        """Open a bundle and score it again; changes nothing, and may take a minute. Raises a `Refusal`."""
        bundle = open_bundle(data)
        return Examined(bundle, examine(bundle, self.known))

    def accept(self, examined: Examined, by: str = "") -> Receipt:
        """Take an examined bundle in; when this returns, it is on the disk. Raises `Conflict` for a bundle that is there, or
        whose upstream's name belongs to another token; `Refusal` if the board's references changed meanwhile."""
        with self.shelf.writing() as writer:
            return self._accept(writer, examined, by, again=False)

    def refuse(self, subject: str, reason: Refusal, by: str = "") -> None:
        """Note in the log why something was refused."""
        with self.shelf.writing() as writer:
            writer.log(event(by or "keeper", "refused", subject[:200], f"{reason.code}: {reason}"[:2000]))

    def _accept(self, writer: Writing, examined: Examined, by: str, *, again: bool) -> Receipt:
        bundle, held = examined.bundle, writer.held()
        tasks = tuple(sorted(bundle.entries))
        same = [one for one in held if one.digest and bundle.digest.startswith(one.digest)]
        if same:
            if not again:
                raise Conflict(
                    f"This very bundle of {bundle.upstream} was accepted at {same[0].accepted}; it is not taken twice.",
                    "replayed",
                )
            return Receipt(bundle.upstream, tasks, same[0].place, False, bundle.digest)
        owners = {one.by for one in held if one.upstream in (bundle.upstream, _filed(bundle.upstream)) and one.by}
        if by and owners and by not in owners:
            raise Conflict(
                f"The name {bundle.upstream!r} belongs to somebody else on this board. Run under an alias: alias=spec.", "name"
            )
        for task, evidence in examined.evidence.items():
            fingerprint = bundle.entries[task].result.data.fingerprint
            _confirm(_known(writer, task, fingerprint), evidence, task)
            writer.put("evidence", _evidence_name(bundle.digest, task), evidence.to_bytes())
            if not evidence.own:
                writer.put("labels", _document(task, fingerprint), evidence.labels.encode())
        last = held[-1].accepted if held else ""
        moment = max(now(), f"{last}0" if last else "")
        kept = writer.add(Held(bundle.digest, bundle.upstream, moment, by), bundle.data)
        writer.log(event(by or "keeper", "accepted", bundle.digest, f"{bundle.upstream}: {', '.join(tasks)}"))
        return Receipt(bundle.upstream, tasks, kept.place, True, bundle.digest)

    # ------------------------------------------------------------ references

    def known(self, task: str, fingerprint: str) -> References | str | None:
        """The board's own references for a task's data; else the digest of those that its results were scored on; else None."""
        return _known(self.shelf, task, fingerprint)

    def add_references(self, folder: Path) -> list[References]:
        """Take the test items, labels and facts of all results under `folder` (one's own run of any model, on one's own copy of
        the corpora) as the board's own: from now on they alone count. Raises `BadResult`."""
        places = find_results(folder)
        if not places:
            raise BadResult(f"{folder} holds no result.json. Give a folder that `superbench run --out` wrote.")
        found: dict[str, References] = {}
        for place in places:
            result = read_result(place)
            one = References.of(result, read_predictions(place / result.predictions))
            name = _document(one.task, one.fingerprint)
            if name in found and found[name].digest != one.digest:
                raise BadResult(f"{folder} holds results of {one.task} on the same data with different labels. Run it again.")
            found[name] = one
        with self.shelf.writing() as writer:
            for name, one in found.items():
                writer.put("references", name, one.to_bytes())
                writer.log(event("keeper", "references", name, one.digest))
        return list(found.values())

    def references(self) -> list[str]:
        """What the board has references of its own for, as `task-fingerprint`."""
        return self.shelf.names("references")

    # ------------------------------------------------------------ what is shown

    def results(self) -> list[Result]:
        """All results on the board; where one upstream's task came in more than once, the latest. Raises `BadResult`."""
        return [entry.result for _, entry in self._shown([])]

    def _shown(self, damaged: list[str]) -> list[tuple[Bundle, Entry]]:
        """The entries that count: of each upstream those of its latest revision, of each task the latest."""
        latest: dict[ranking.Key, tuple[Bundle, Entry]] = {}
        for bundle in self._bundles(damaged):
            for entry in bundle.entries.values():
                key = ranking.key_of(entry.result)
                for older in [one for one in latest if one[0] == key[0] and one[1] != key[1] and one[3] == key[3]]:
                    del latest[older]
                latest.pop(key, None)
                latest[key] = (bundle, entry)
        return list(latest.values())

    def _bundles(self, damaged: list[str]) -> Iterator[Bundle]:
        """All accepted bundles in order; why one cannot be read goes to `damaged`. Raises `CommandError` if there is none."""
        held = self.shelf.held()
        if not held:
            raise CommandError(
                f"{self.shelf.address} is no board: it has no bundle. "
                f"Submit one: superbench submit DIR --board {self.shelf.address}"
            )
        for one in held:
            try:
                yield open_bundle(self.shelf.data(one.place or one.digest))
            except BadResult as error:
                damaged.append(f"{one.place}: {error}")

    def groups(
        self, progress: Progress = lambda done, total: None
    ) -> tuple[list[ranking.Group], list[str], dict[ranking.Key, Answers]]:
        """Rows that may be compared, with the replicates that paired tests need; what is not shown since it does not hold (any
        more, or never did: a bundle that somebody put into the folder by hand), with the reason; the answers behind rows."""
        refused: list[str] = []
        shown = self._shown(refused)
        results, drawn, answers = [], {}, {}
        seen: dict[tuple[str, str], References | str | None] = {}
        fresh: dict[tuple[str, str, str], Evidence] = {}
        for number, (bundle, entry) in enumerate(shown):
            progress(number, len(shown))
            home = (entry.result.task.name, entry.result.data.fingerprint)
            if home not in seen:
                seen[home] = self.known(*home)
            name = _evidence_name(bundle.digest, home[0])
            evidence = _usable(self.shelf.get("evidence", name), seen[home])
            try:
                if evidence is None:
                    evidence = fresh[name, *home] = examine_entry(entry, lambda task, fingerprint: seen[task, fingerprint])
            except Refusal as error:
                refused.append(f"{bundle.upstream}: {home[0]}: {error}")
                continue
            seen[home] = seen[home] or evidence.labels
            results.append(entry.result)
            drawn[ranking.key_of(entry.result)] = evidence.replicates
            given = sorted(entry.predictions, key=lambda one: (one.fold, one.id))
            answers[ranking.key_of(entry.result)] = Answers(given, evidence.errors, evidence.replicates)
        self._keep(fresh)
        progress(len(shown), len(shown))
        return ranking.grouped(results, drawn), refused, answers

    def _keep(self, fresh: Mapping[tuple[str, str, str], Evidence]) -> None:
        """Evidence that was made while a page was drawn."""
        if not fresh:
            return
        with self.shelf.writing() as writer:
            for (name, task, fingerprint), evidence in fresh.items():
                writer.put("evidence", name, evidence.to_bytes())
                if not evidence.own and _known(writer, task, fingerprint) is None:
                    writer.put("labels", _document(task, fingerprint), evidence.labels.encode())

    def contents(self, progress: Progress = lambda done, total: None, *, everything: bool = False) -> dict[str, Any]:
        """What the page shows, as plain values; `everything`: superseded published rows too."""
        groups, refused, answers = self.groups(progress)
        had = {key for group in groups for row in group.rows for key in row.cells}
        columns = [column for column in ranking.columns() if column.primary or column.reference or column.key in had]
        groups.append(ranking.Group(contents.PUBLISHED, tuple(published(columns))))
        if everything:
            groups.append(ranking.Group(contents.SUPERSEDED, tuple(superseded(columns))))
        return contents.contents(groups, columns, refused, lambda result: answers.get(ranking.key_of(result)))

    def write_page(self, out: Path, progress: Progress = lambda done, total: None, *, everything: bool = False) -> list[str]:
        """Write the board as one HTML file that opens from disk; the published rows stand in it, apart. Returns what the board
        holds and does not show, with the reasons."""
        require_place(out, f"--out {out}")
        found = self.contents(progress, everything=everything)
        write_text(out, page.render(found))
        return list(found["refused"])


def _filed(name: str) -> str:
    """An upstream's name as a folder's files have it."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:80]


def _document(task: str, fingerprint: str) -> str:
    return f"{task}-{re.sub(r'[^A-Za-z0-9_-]', '_', fingerprint)}"[:150]


def _usable(kept: bytes | None, known: References | str | None) -> Evidence | None:
    """Evidence that was made with the references that count now."""
    evidence = Evidence.parse(kept) if kept else None
    if evidence is None:
        return None
    labels = known.digest if isinstance(known, References) else known
    return evidence if evidence.labels == labels or (labels is None and not evidence.own) else None


def _evidence_name(bundle: str, task: str) -> str:
    return f"{bundle[:32]}-{task}"


def _known(shelf: Reading, task: str, fingerprint: str) -> References | str | None:
    name = _document(task, fingerprint)
    own = shelf.get("references", name)
    if own is not None:
        return References.parse(own, f"references/{name}")
    labels = shelf.get("labels", name)
    return None if labels is None else labels.decode()


def _confirm(known: References | str | None, evidence: Evidence, task: str) -> None:
    """The references that count must be those that the evidence was made with: another submission may have come in between."""
    labels = known.digest if isinstance(known, References) else known
    if labels is not None and labels != evidence.labels:
        raise Refusal(
            f"{task}: its ids or references are not those of other results on the same data, or the board's own have "
            "changed. Submit it again.",
            "references",
        )
