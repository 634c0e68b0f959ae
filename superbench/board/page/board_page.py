"""The page of a board: its data, as a file, and in a notebook. It shows the bundles whose scores are confirmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from superbench.board.page import missing_plugins, render, shown_results
from superbench.board.page.counted import Counted, LeftOut, counted
from superbench.board.storage.base import Storage, event
from superbench.board.storage.sealed_evidence import SealedEvidence
from superbench.errors import CommandError
from superbench.results import Result
from superbench.system.files import require_place, write_text

Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class BoardPage:
    """The page of the board in `storage`. Evidence that is missing in `sealed` is computed and added."""

    storage: Storage
    sealed: SealedEvidence

    def results(self, *, hidden: bool = False) -> list[Result]:
        """Returns all results on the board; the latest one for each upstream and task. Raises `BadResult`."""
        return [one.entry.result for one in self._counted([], hidden=hidden)]

    def contents(
        self, progress: Progress = lambda done, total: None, *, everything: bool = False, hidden: bool = False
    ) -> dict[str, Any]:
        """Returns what the page shows, as plain values, and in its list `refused` what it does not show. Hidden rows are left
        out without a word, unless `hidden`: readers must not learn that they exist."""
        left_out: list[LeftOut] = []
        entries = self._counted(left_out, hidden=hidden)
        shown, fresh = shown_results.verified(self.storage, self.sealed, entries, left_out, progress)
        self._keep(fresh)
        data, undrawable = shown_results.page_data(shown, left_out, everything=everything)
        self._note(undrawable)
        return data

    def not_shown(self, progress: Progress = lambda done, total: None) -> dict[tuple[str, str], str]:
        """Returns why the page does not show what stands on the board: (digest of the bundle, name of the entry) -> reason."""
        left_out: list[LeftOut] = []
        entries = self._counted(left_out, hidden=True)
        shown, fresh = shown_results.verified(self.storage, self.sealed, entries, left_out, progress)
        self._keep(fresh)
        _, undrawable = shown_results.page_data(shown)
        reasons = {(one.digest, one.entry): one.reason for one in left_out if one.digest}
        for bundle, entry in ((result.bundle, result.entry) for result in shown if result.bundle.digest in undrawable):
            reasons[bundle.digest, entry.name] = undrawable[bundle.digest].removeprefix(f"{bundle.upstream}: ")
        return reasons

    def write(
        self,
        out: Path,
        progress: Progress = lambda done, total: None,
        *,
        everything: bool = False,
        hidden: bool = False,
        told: Callable[[str], object] = lambda line: None,
    ) -> list[str]:
        """Writes one HTML file; returns what it does not show, with the reasons. `told` is called with a sentence for each task
        whose plugin is missing."""
        require_place(out, f"--out {out}")
        data = self.contents(progress, everything=everything, hidden=hidden)
        write_text(out, render.render(data))
        for facts in data["missing"]:
            told(missing_plugins.said(facts))
        return list(data["refused"])

    def frame(self) -> str:
        """Returns the page for a notebook, in a frame that may run scripts and start downloads only."""
        if not self.storage.bundles():
            return f"<p>{escape(str(self.storage.address))} contains no bundle yet.</p>"
        page = escape(render.render(self.contents()))
        return f'<iframe srcdoc="{page}" sandbox="allow-scripts allow-downloads" width="100%" height="640"></iframe>'

    def _counted(self, left_out: list[LeftOut], *, hidden: bool) -> list[Counted]:
        """Returns the entries that are shown. Raises `CommandError` if no bundle was ever accepted."""
        if not self.storage.bundles():
            raise CommandError(
                f"{self.storage.address} is not a board: it contains no bundle. "
                f"Submit one: superbench submit DIR --board {self.storage.address}"
            )
        return counted(self.storage, left_out, hidden=hidden)

    def _keep(self, fresh: shown_results.Fresh) -> None:
        """Stores the evidence that was computed while a page was drawn."""
        if not fresh:
            return
        with self.storage.writing() as writer:
            for (digest, task), evidence in fresh.items():
                self.sealed.keep(writer, digest, task, evidence)

    def _note(self, undrawable: Mapping[str, str]) -> None:
        """Writes into the log which bundles could not be drawn; each reason once."""
        events = self.storage.events() if undrawable else []
        logged = {(event.subject, event.remark) for event in events if event.what == "not drawn"}
        if new := {digest: reason for digest, reason in undrawable.items() if (digest, reason) not in logged}:
            with self.storage.writing() as writer:
                for digest, reason in new.items():
                    writer.log(event("board", "not drawn", digest, reason))
