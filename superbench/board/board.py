"""A board: accepted bundles in a folder or a database. Each bundle is scored again before it is accepted.

A submission is accepted completely, or refused with the reasons; a refusal does not change the board. A newer bundle of an
upstream replaces the older one for the tasks that both contain. The older bundle stays in the history.
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
"""The name in the log for changes without a token: they are made by whoever has access to the board's storage."""


@dataclass(frozen=True, slots=True)
class SubmissionReceipt:
    """The outcome of a submission. `fresh` is False if the board already contained the same bundle."""

    upstream: str
    tasks: tuple[str, ...]
    place: str
    fresh: bool
    digest: str = ""


@dataclass(frozen=True)
class Examined:
    """A bundle whose scores have all been confirmed, with the evidence by name of the entry. It can be accepted."""

    bundle: Bundle
    evidence: Mapping[str, Evidence]


def storage_at(address: Path | str) -> Storage:
    """Returns the storage at an address: a folder, a database URL, or an SQLite file (.db, .sqlite). Raises `CommandError`."""
    text = str(address)
    if re.match(r"https?://", text):
        raise CommandError(
            f"{text}: this is the web page of a board. Submit to it with --token; only its keeper can open its storage."
        )
    if re.match(r"[a-z0-9+]+://", text) or Path(text).suffix in DATABASE_FILES:
        from superbench.board.storage.database import DatabaseStorage

        return DatabaseStorage(text if "://" in text else f"sqlite:///{text}")
    return FolderStorage(Path(address))


class Board:
    """The board at `address`: a folder, `sqlite:///FILE` (or FILE.db) or `postgresql://USER@HOST/NAME`.

    The first write creates the board.
    """

    def __init__(self, address: Path | str) -> None:
        self.storage = storage_at(address)
        self._sealed = SealedEvidence.of_user()

    # ------------------------------------------------------------ submissions

    def submit(self, folder: Path, *, by: str = "", without_references: bool = False) -> list[SubmissionReceipt]:
        """Bundles, verifies and accepts the results of every upstream under `folder`; accepts nothing if one is refused.

        `folder` is the output of `superbench run --out`, the folder of one upstream in it, or a bundle. Raises `BadResult`
        with all reasons.
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
            text = "The board refuses this submission. Nothing was added. " + "; ".join(reason for _, reason in refused) + "."
            raise type(refused[0][0])(text, refused[0][0].code)
        with self.storage.writing() as writer:
            return [self._accept(writer, examined, by, again=True) for examined in ready]

    def examine(self, data: bytes) -> Examined:
        """Opens a bundle, scores it again, and draws the page with it. The board does not change; this may take a minute.

        Raises a `Refusal`.
        """
        bundle = open_bundle(data)
        examined = Examined(bundle, examine(bundle, self.references_for))
        self._require_drawable(examined)
        return examined

    def _require_drawable(self, *examined: Examined) -> None:
        shown_results.require_drawable(
            self.storage, self._sealed, [(candidate.bundle, candidate.evidence) for candidate in examined]
        )

    def accept(self, examined: Examined, by: str = "") -> SubmissionReceipt:
        """Accepts an examined bundle; when this returns, the bundle is on the disk.

        Raises `Conflict` for a bundle that the board already contains, or whose upstream has a name that belongs to another
        token; `Refusal` if the board's references have changed since the examination.
        """
        with self.storage.writing() as writer:
            return self._accept(writer, examined, by, again=False)

    def refuse(self, subject: str, reason: Refusal, by: str = "") -> None:
        """Writes into the log why something was refused."""
        with self.storage.writing() as writer:
            writer.log(event(by or KEEPER, "refused", subject[:200], f"{reason.code}: {reason}"[:2000]))

    def _accept(self, writer: Writing, examined: Examined, by: str, *, again: bool) -> SubmissionReceipt:
        bundle, accepted = examined.bundle, writer.bundles()
        tasks = tuple(sorted(bundle.entries))
        same = [stored for stored in accepted if stored.digest and bundle.digest.startswith(stored.digest)]
        if same:
            if rulings.ruling_of(writer, same[0]).withdrawn:
                raise Conflict(f"The same bundle of {bundle.upstream} was withdrawn from this board.", "withdrawn")
            if not again:
                raise Conflict(
                    f"The same bundle of {bundle.upstream} was accepted at {same[0].accepted}; a bundle is accepted once.",
                    "replayed",
                )
            return SubmissionReceipt(
                upstream=bundle.upstream, tasks=tasks, place=same[0].place, fresh=False, digest=bundle.digest
            )
        _require_own_name(bundle.upstream, by, rulings.active_bundles(writer))
        for name, evidence in examined.evidence.items():
            result = bundle.entries[name].result
            confirm(references_for(writer, result.task.name, result.data.fingerprint), evidence, name)
            self._sealed.keep(writer, bundle.digest, name, evidence)
        latest = accepted[-1].accepted if accepted else ""
        moment = max(now(), f"{latest}0" if latest else "")  # the order of acceptance survives a clock that is set back
        stored = writer.add(StoredBundle(bundle.digest, bundle.upstream, moment, by), bundle.data)
        writer.log(event(by or KEEPER, "accepted", bundle.digest, f"{bundle.upstream}: {', '.join(tasks)}"))
        return SubmissionReceipt(upstream=bundle.upstream, tasks=tasks, place=stored.place, fresh=True, digest=bundle.digest)

    # ------------------------------------------------------------ references

    def references_for(self, task: str, fingerprint: str) -> References | None:
        """Returns the board's own references for the data of a task; None if it has none for the task. Raises `Refusal`."""
        return references_for(self.storage, task, fingerprint)

    def add_references(self, folder: Path) -> list[References]:
        """Adds the test items, labels and facts of all results under `folder` as the board's own references.

        The results come from a run of any model on the keeper's copy of the corpora. From then on, bundles are scored with
        these labels only. Raises `BadResult`.
        """
        result_folders = find_results(folder)
        if not result_folders:
            raise BadResult(f"{folder} contains no result.json. Give a folder that `superbench run --out` wrote.")
        by_name: dict[str, References] = {}
        for result_folder in result_folders:
            result = read_result(result_folder)
            references = References.of(result, read_predictions(result_folder / result.predictions))
            name = document_name(references.task, references.fingerprint)
            if name in by_name and by_name[name].digest != references.digest:
                raise BadResult(
                    f"{folder} contains results of {references.task} on the same data with different labels. Run it again."
                )
            by_name[name] = references
        with self.storage.writing() as writer:
            for name, references in by_name.items():
                writer.put("references", name, references.to_bytes())
                writer.log(event(KEEPER, "references", name, references.digest))
        return list(by_name.values())

    def references(self) -> list[str]:
        """Returns the data for which the board has its own references, as `task-fingerprint`."""
        return self.storage.names("references")

    # ------------------------------------------------------------ what is shown

    def results(self) -> list[Result]:
        """Returns all results on the board; the latest one for each upstream and task. Raises `BadResult`."""
        return [entry.result for _, entry in self._counted([])]

    def _counted(self, left_out: list[str]) -> list[shown_results.Counted]:
        """Returns the entries that are shown. Raises `CommandError` if no bundle was ever accepted."""
        if not self.storage.bundles():
            raise CommandError(
                f"{self.storage.address} is not a board: it contains no bundle. "
                f"Submit one: superbench submit DIR --board {self.storage.address}"
            )
        return shown_results.counted(self.storage, left_out)

    def _keep(self, fresh: shown_results.Fresh) -> None:
        """Stores the evidence that was computed while a page was drawn."""
        if not fresh:
            return
        with self.storage.writing() as writer:
            for (digest, task), evidence in fresh.items():
                self._sealed.keep(writer, digest, task, evidence)

    def _note(self, undrawable: Mapping[str, str]) -> None:
        """Writes into the log which bundles could not be drawn; each reason once."""
        events = self.storage.events() if undrawable else []
        logged = {(event.subject, event.remark) for event in events if event.what == "not drawn"}
        if new := {digest: reason for digest, reason in undrawable.items() if (digest, reason) not in logged}:
            with self.storage.writing() as writer:
                for digest, reason in new.items():
                    writer.log(event("board", "not drawn", digest, reason))

    def contents(self, progress: Progress = lambda done, total: None, *, everything: bool = False) -> dict[str, Any]:
        """Returns what the page shows, as plain values; `everything` includes superseded published rows.

        Its list `refused` lists what the board contains but does not show: a bundle that cannot be read, a result whose
        scores are not confirmed, or a row that cannot be drawn.
        """
        left_out: list[str] = []
        shown, fresh = shown_results.verified(self.storage, self._sealed, self._counted(left_out), left_out, progress)
        self._keep(fresh)
        data, undrawable = shown_results.page_data(shown, left_out, everything=everything)
        self._note(undrawable)
        return data

    def write_page(self, out: Path, progress: Progress = lambda done, total: None, *, everything: bool = False) -> list[str]:
        """Writes the board as one HTML file that opens from disk; published rows are in a table of their own.

        Returns what the board contains but does not show, with the reasons.
        """
        require_place(out, f"--out {out}")
        data = self.contents(progress, everything=everything)
        write_text(out, render.render(data))
        return list(data["refused"])

    def _repr_html_(self) -> str:
        """Returns the page for a notebook, in a frame that may run scripts and start downloads only."""
        if not self.storage.bundles():
            return f"<p>{escape(str(self.storage.address))} contains no bundle yet.</p>"
        page = escape(render.render(self.contents()))
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts allow-downloads" width="100%" height="640"></iframe>'

    # ------------------------------------------------------------ what the keeper decides

    def withdraw(self, row: str, by: str = KEEPER, why: str = "") -> list[StoredBundle]:
        """Removes a row (by its name) or one bundle (by its digest) from the board. Raises `UnknownName`, `CommandError`."""
        with self.storage.writing() as writer:
            return rulings.withdraw(writer, row, by, why)

    def history(self, row: str | None = None) -> list[rulings.Version]:
        """Returns all versions of a row, or of all rows, the latest last. Raises `UnknownName`."""
        return rulings.history(self.storage, row)


def _require_own_name(name: str, by: str, bundles: Sequence[StoredBundle]) -> None:
    """Raises `Conflict` if the name belongs to another token, or looks like a name that is on the board.

    A name belongs to the token that submitted it first; to the keeper if there was no token.
    """
    owners = {stored.by for stored in bundles if stored.upstream == name}
    if owners - {by}:
        owner = "somebody else" if owners - {by, ""} else "the board's keeper"
        raise Conflict(f"The name {name!r} belongs to {owner} on this board. Run under an alias: alias=spec.", "name")
    names = [stored.upstream for stored in bundles if stored.upstream != name]
    similar = next((other for other in names if lookalikes.alike(other, name)), None)
    if similar is not None:
        raise Conflict(
            f"The name {name!r} looks like {similar!r}, which is on this board. Run under an alias: alias=spec.", "name"
        )
    if published := lookalikes.impersonated(name):
        raise Conflict(f"The name {name!r} imitates the published row {published!r}. Run under an alias: alias=spec.", "name")
