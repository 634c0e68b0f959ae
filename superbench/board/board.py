"""A board: accepted bundles in a folder or a database, each of them scored again before it came in.

A submission is accepted whole or refused with the reason; the board is then as it was. A newer bundle of an upstream stands in
place of the older one where both have a task, and takes nothing else away; history is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from superbench.board.bundles import lookalikes
from superbench.board.bundles.bundle import Bundle, one_per_upstream, open_bundle
from superbench.board.bundles.evidence import Evidence
from superbench.board.bundles.references import References
from superbench.board.bundles.verify import examine
from superbench.board.page import render, shown_results
from superbench.board.storage import rulings
from superbench.board.storage.base import Storage, StoredBundle, Writing, event, now
from superbench.board.storage.documents import confirm, document_name, references_for
from superbench.board.storage.folder import FolderStorage
from superbench.board.storage.sealed_evidence import SealedEvidence
from superbench.errors import BadResult, CommandError, Conflict, Refusal
from superbench.results import Result, find_results, read_predictions, read_result
from superbench.system.files import require_place, write_text

DATABASE_FILES = {".db", ".sqlite", ".sqlite3"}
Progress = Callable[[int, int], object]
KEEPER = "keeper"
"""Who writes into the log without a token: whoever has the board's storage."""


@dataclass(frozen=True, slots=True)
class SubmissionReceipt:
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


def storage_at(address: Path | str) -> Storage:
    """A folder; a database by URL; an SQLite file by its suffix (.db, .sqlite). Raises `CommandError`."""
    text = str(address)
    if re.match(r"https?://", text):
        raise CommandError(f"{text}: this is a board's page. Submit to it with --token; only its keeper has its storage.")
    if re.match(r"[a-z0-9+]+://", text) or Path(text).suffix in DATABASE_FILES:
        from superbench.board.storage.database import DatabaseStorage

        return DatabaseStorage(text if "://" in text else f"sqlite:///{text}")
    return FolderStorage(Path(address))


class Board:
    """The board at `address`: a folder, `sqlite:///FILE` (or FILE.db), `postgresql://USER@HOST/NAME`; writing makes it."""

    def __init__(self, address: Path | str) -> None:
        self.storage = storage_at(address)
        self._sealed = SealedEvidence.of_user()

    # ------------------------------------------------------------ submissions

    def submit(self, folder: Path, *, by: str = "", without_references: bool = False) -> list[SubmissionReceipt]:
        """Bundle, verify and accept every upstream's results under `folder`; nothing is accepted if one is refused.

        `folder` is what `superbench run --out` wrote, one upstream's folder in it, or a bundle. Raises `BadResult` with all
        reasons.
        """
        bundles = [open_bundle(data) for data in one_per_upstream(folder, without_references)]
        ready, refused = [], []
        for bundle in bundles:
            try:
                ready.append(Examined(bundle, examine(bundle, self.references_for)))
            except Refusal as error:
                refused.append((error, f"{bundle.upstream}: {error}"))
        if not refused:
            try:
                self._require_drawable(*ready)
            except Refusal as error:
                refused.append((error, str(error)))
        if refused:
            text = "The board refuses this submission, nothing was added. " + "; ".join(reason for _, reason in refused) + "."
            raise type(refused[0][0])(text, refused[0][0].code)
        with self.storage.writing() as writer:
            return [self._accept(writer, one, by, again=True) for one in ready]

    def examine(self, data: bytes) -> Examined:
        """Open a bundle, score it again, and draw the board with it; changes nothing, and may take a minute. Raises a
        `Refusal`."""
        bundle = open_bundle(data)
        found = Examined(bundle, examine(bundle, self.references_for))
        self._require_drawable(found)
        return found

    def _require_drawable(self, *examined: Examined) -> None:
        shown_results.require_drawable(self.storage, self._sealed, [(one.bundle, one.evidence) for one in examined])

    def accept(self, examined: Examined, by: str = "") -> SubmissionReceipt:
        """Take an examined bundle in; when this returns, it is on the disk. Raises `Conflict` for a bundle that is there, or
        whose upstream's name belongs to another token; `Refusal` if the board's references changed meanwhile."""
        with self.storage.writing() as writer:
            return self._accept(writer, examined, by, again=False)

    def refuse(self, subject: str, reason: Refusal, by: str = "") -> None:
        """Note in the log why something was refused."""
        with self.storage.writing() as writer:
            writer.log(event(by or KEEPER, "refused", subject[:200], f"{reason.code}: {reason}"[:2000]))

    def _accept(self, writer: Writing, examined: Examined, by: str, *, again: bool) -> SubmissionReceipt:
        bundle, held = examined.bundle, writer.bundles()
        tasks = tuple(sorted(bundle.entries))
        same = [one for one in held if one.digest and bundle.digest.startswith(one.digest)]
        if same:
            if rulings.ruling_of(writer, same[0]).withdrawn:
                raise Conflict(f"This very bundle of {bundle.upstream} was withdrawn from this board.", "withdrawn")
            if not again:
                raise Conflict(
                    f"This very bundle of {bundle.upstream} was accepted at {same[0].accepted}; it is not taken twice.",
                    "replayed",
                )
            return SubmissionReceipt(bundle.upstream, tasks, same[0].place, False, bundle.digest)
        _require_own_name(bundle.upstream, by, rulings.active_bundles(writer))
        for task, evidence in examined.evidence.items():
            fingerprint = bundle.entries[task].result.data.fingerprint
            confirm(references_for(writer, task, fingerprint), evidence, task)
            self._sealed.keep(writer, bundle.digest, task, evidence)
        last = held[-1].accepted if held else ""
        moment = max(now(), f"{last}0" if last else "")
        kept = writer.add(StoredBundle(bundle.digest, bundle.upstream, moment, by), bundle.data)
        writer.log(event(by or KEEPER, "accepted", bundle.digest, f"{bundle.upstream}: {', '.join(tasks)}"))
        return SubmissionReceipt(bundle.upstream, tasks, kept.place, True, bundle.digest)

    # ------------------------------------------------------------ references

    def references_for(self, task: str, fingerprint: str) -> References | None:
        """The board's own references for a task's data; None where it has none for the task. Raises `Refusal`."""
        return references_for(self.storage, task, fingerprint)

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
            name = document_name(one.task, one.fingerprint)
            if name in found and found[name].digest != one.digest:
                raise BadResult(f"{folder} holds results of {one.task} on the same data with different labels. Run it again.")
            found[name] = one
        with self.storage.writing() as writer:
            for name, one in found.items():
                writer.put("references", name, one.to_bytes())
                writer.log(event(KEEPER, "references", name, one.digest))
        return list(found.values())

    def references(self) -> list[str]:
        """What the board has references of its own for, as `task-fingerprint`."""
        return self.storage.names("references")

    # ------------------------------------------------------------ what is shown

    def results(self) -> list[Result]:
        """All results on the board; of one upstream's task that came in more than once, the latest. Raises `BadResult`."""
        return [entry.result for _, entry in self._counted([])]

    def _counted(self, left_out: list[str]) -> list[shown_results.Counted]:
        """The entries that count. Raises `CommandError` if nothing was ever accepted."""
        if not self.storage.bundles():
            raise CommandError(
                f"{self.storage.address} is no board: it has no bundle. "
                f"Submit one: superbench submit DIR --board {self.storage.address}"
            )
        return shown_results.counted(self.storage, left_out)

    def _keep(self, fresh: shown_results.Fresh) -> None:
        """Evidence that was made while a page was drawn."""
        if not fresh:
            return
        with self.storage.writing() as writer:
            for (digest, task), evidence in fresh.items():
                self._sealed.keep(writer, digest, task, evidence)

    def _note(self, gone: Mapping[str, str]) -> None:
        """Write into the log what could not be drawn, once."""
        told = {(one.subject, one.remark) for one in self.storage.events() if one.what == "not drawn"} if gone else set()
        if new := {digest: why for digest, why in gone.items() if (digest, why) not in told}:
            with self.storage.writing() as writer:
                for digest, why in new.items():
                    writer.log(event("board", "not drawn", digest, why))

    def contents(self, progress: Progress = lambda done, total: None, *, everything: bool = False) -> dict[str, Any]:
        """What the page shows, as plain values; `everything`: superseded published rows too. `refused` in it is what the board
        holds and does not show, since it cannot be read, does not hold (any more, or never did) or cannot be drawn."""
        left_out: list[str] = []
        shown, fresh = shown_results.verified(self.storage, self._sealed, self._counted(left_out), left_out, progress)
        self._keep(fresh)
        found, gone = shown_results.page_data(shown, left_out, everything=everything)
        self._note(gone)
        return found

    def write_page(self, out: Path, progress: Progress = lambda done, total: None, *, everything: bool = False) -> list[str]:
        """Write the board as one HTML file that opens from disk; the published rows stand in it, apart. Returns what the board
        holds and does not show, with the reasons."""
        require_place(out, f"--out {out}")
        found = self.contents(progress, everything=everything)
        write_text(out, render.render(found))
        return list(found["refused"])

    def _repr_html_(self) -> str:
        """What a notebook shows: the page itself, in a frame that runs its script and nothing else."""
        if not self.storage.bundles():
            return f"<p>{escape(str(self.storage.address))} has no bundle yet.</p>"
        whole = escape(render.render(self.contents()))
        return f'<iframe srcdoc="{whole}" sandbox="allow-scripts allow-downloads" width="100%" height="640"></iframe>'

    # ------------------------------------------------------------ what the keeper decides

    def withdraw(self, row: str, by: str = KEEPER, why: str = "") -> list[StoredBundle]:
        """Take a row (by its name), or one bundle (by its digest), off the board. Raises `UnknownName`, `CommandError`."""
        with self.storage.writing() as writer:
            return rulings.withdraw(writer, row, by, why)

    def history(self, row: str | None = None) -> list[rulings.Version]:
        """All versions of a row, or of all rows, the latest last. Raises `UnknownName`."""
        return rulings.history(self.storage, row)


def _require_own_name(name: str, by: str, held: Sequence[StoredBundle]) -> None:
    """A name belongs to whoever brought it: a token, or the keeper where there was none; names that look like it, too. Raises
    `Conflict`."""
    owners = {one.by for one in held if one.upstream == name}
    if owners - {by}:
        owner = "somebody else" if owners - {by, ""} else "the board's keeper"
        raise Conflict(f"The name {name!r} belongs to {owner} on this board. Run under an alias: alias=spec.", "name")
    similar = next((one.upstream for one in held if one.upstream != name and lookalikes.alike(one.upstream, name)), None)
    if similar is not None:
        raise Conflict(
            f"The name {name!r} looks like {similar!r}, which is on this board. Run under an alias: alias=spec.", "name"
        )
    if published := lookalikes.impersonated(name):
        raise Conflict(f"The name {name!r} imitates the published row {published!r}. Run under an alias: alias=spec.", "name")
