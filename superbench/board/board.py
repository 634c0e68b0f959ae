"""A board: accepted bundles in a folder or a database. Each bundle is scored again before it is accepted.

A bundle is accepted completely, or refused with the reasons; a refusal does not change the board. A newer bundle of an
upstream replaces the older one for the tasks that both contain. The older bundle stays in the history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from superbench.board.acceptance import Acceptance, Examined, SubmissionReceipt, Told
from superbench.board.addresses import storage_at as storage_at
from superbench.board.bundles.references import References, is_sampled
from superbench.board.page.board_page import BoardPage, Progress
from superbench.board.storage import history, row_changes, rulings
from superbench.board.storage.base import KEEPER, StoredBundle, event
from superbench.board.storage.documents import document_name, references_for
from superbench.board.storage.sealed_evidence import SealedEvidence
from superbench.errors import BadResult, Refusal
from superbench.results import Result, read_predictions, read_whole_results


class Board:
    """The board at `address`: a folder, `sqlite:///FILE` (or FILE.db) or `postgresql://USER@HOST/NAME`.

    The first write creates the board.
    """

    def __init__(self, address: Path | str) -> None:
        self.storage = storage_at(address)
        sealed = SealedEvidence.of_user()
        self._acceptance, self._page = Acceptance(self.storage, sealed), BoardPage(self.storage, sealed)

    # ------------------------------------------------------------ submissions

    def submit(
        self,
        folder: Path | Sequence[Path],
        *,
        by: str = "",
        without_references: bool = False,
        hidden: bool = False,
        told: Told = lambda receipt: None,
    ) -> list[SubmissionReceipt]:
        """Bundles, verifies and accepts the results of every upstream under `folder`, one after the other.

        `folder` is the output of `superbench run --out`, the folder of one upstream in it, a bundle, or several of these. With
        `hidden`, readers without a token do not see the rows. `told` is called with every receipt. A bundle that is refused
        does not stop the others: at the end a `Refusal` (`BadResult`) names those that are on the board and those that are
        not, with all reasons.
        """
        return self._acceptance.submit(folder, by=by, without_references=without_references, hidden=hidden, told=told)

    def examine(self, data: bytes) -> Examined:
        """Opens a bundle, scores it again, and draws the page with it. The board does not change; this may take a minute.

        Raises a `Refusal`.
        """
        return self._acceptance.examine(data)

    def accept(self, examined: Examined, by: str = "", token: str = "", *, hidden: bool = False) -> SubmissionReceipt:
        """Accepts an examined bundle; when this returns, the bundle is on the disk. `hidden`: see `submit`.

        `by` is the name of the token that sent it, `token` its digest: a token that was revoked raises `NotAllowed`.
        Raises `Conflict` for a bundle that the board already contains, or whose upstream has a name that belongs to another
        token; `Refusal` if the board's references have changed since the examination.
        """
        return self._acceptance.accept(examined, by, token, hidden=hidden)

    def refuse(self, subject: str, reason: Refusal, by: str = "") -> None:
        """Writes into the log why something was refused."""
        self._acceptance.refuse(subject, reason, by)

    # ------------------------------------------------------------ references

    def references_for(self, task: str, fingerprint: str) -> References | None:
        """Returns the board's own references for the data of a task; None if it has none for the task. Raises `Refusal`."""
        return references_for(self.storage, task, fingerprint)

    def add_references(self, folder: Path) -> list[References]:
        """Adds the test items, labels and facts of all results under `folder` as the board's own references, except of results
        in context, which ask a sample of the test.

        The results come from a run of any model on the keeper's copy of the corpora. From then on, bundles are scored with
        these labels only. Raises `BadResult`.
        """
        by_name: dict[str, References] = {}
        for result_folder, result in read_whole_results(folder).items():
            if is_sampled(result):
                continue
            references = References.of(result, read_predictions(result_folder / result.predictions))
            name = document_name(references.task, references.fingerprint)
            if name in by_name and by_name[name].digest != references.digest:
                raise BadResult(
                    f"{folder} contains results of {references.task} on the same data with different labels. Run it again."
                )
            by_name[name] = references
        if not by_name:
            raise BadResult(
                f"{folder} contains only results in context, which ask a sample of the test. Add few-shot ones or probes."
            )
        with self.storage.writing() as writer:
            for name, references in by_name.items():
                writer.put("references", name, references.to_bytes())
                writer.log(event(KEEPER, "references", name, references.digest))
        return list(by_name.values())

    def references(self) -> list[str]:
        """Returns the data for which the board has its own references, as `task-fingerprint`."""
        return self.storage.names("references")

    # ------------------------------------------------------------ what is shown

    def results(self, *, hidden: bool = False) -> list[Result]:
        """Returns all results on the board; the latest one for each upstream and task; those of hidden rows only if `hidden`.

        Raises `BadResult`.
        """
        return self._page.results(hidden=hidden)

    def contents(
        self, progress: Progress = lambda done, total: None, *, everything: bool = False, hidden: bool = False
    ) -> dict[str, Any]:
        """Returns what the page shows, as plain values; `everything` includes superseded published rows, `hidden` the rows that
        only members see.

        Its list `refused` lists what the board contains but does not show: a bundle that cannot be read, a result whose
        scores are not confirmed, or a row that cannot be drawn.
        """
        return self._page.contents(progress, everything=everything, hidden=hidden)

    def write_page(
        self,
        out: Path,
        progress: Progress = lambda done, total: None,
        *,
        everything: bool = False,
        hidden: bool = False,
        told: Callable[[str], object] = lambda line: None,
    ) -> list[str]:
        """Writes the board as one HTML file that opens from disk; published rows are in a table of their own. `hidden` adds the
        rows that only members see. `told` is called with a sentence for each task whose plugin is missing here.

        Returns what the board contains but does not show, with the reasons.
        """
        return self._page.write(out, progress, everything=everything, hidden=hidden, told=told)

    def _repr_html_(self) -> str:
        """Returns the page for a notebook, in a frame that may run scripts and start downloads only."""
        return self._page.frame()

    # ------------------------------------------------------------ changes of rows, each with a line in the log

    def withdraw(self, row: str, by: str = KEEPER, why: str = "") -> list[StoredBundle]:
        """Removes a row (by its name) or one bundle (by its digest) from the board.

        Raises `UnknownName`; `CommandError` if it is withdrawn already; `Conflict` if `row` fits more than one row or bundle;
        `Malformed` for a reason that is too long or cannot be printed.
        """
        with self.storage.writing() as writer:
            return rulings.withdraw(writer, row, by, why)

    def hide(self, row: str, by: str = KEEPER, why: str = "", *, hidden: bool = True, own: bool = False) -> list[StoredBundle]:
        """Hides a row from readers without a token, with all its versions; or shows it again (`hidden=False`).

        `own`: only if it belongs to `by`. Raises `UnknownName`, `NotAllowed`, `CommandError` if nothing would change.
        """
        with self.storage.writing() as writer:
            return row_changes.hide(writer, row, row_changes.By(by, why, own), hidden=hidden)

    def rename(self, row: str, name: str, by: str = KEEPER, why: str = "") -> list[StoredBundle]:
        """Gives a row another name; its owner submits under the new one from then on, and the old name is free.

        Raises `UnknownName`, `CommandError` if nothing would change, and a `Refusal` for a name that a bundle could not have.
        """
        with self.storage.writing() as writer:
            return row_changes.rename(writer, row, name, row_changes.By(by, why))

    def transfer(self, row: str, owner: str, by: str = KEEPER, why: str = "") -> list[StoredBundle]:
        """Gives a row to another owner: the name of a token that may submit, or `keeper`.

        Raises `UnknownName`, `CommandError`.
        """
        with self.storage.writing() as writer:
            return row_changes.transfer(writer, row, owner, row_changes.By(by, why))

    def history(self, row: str | None = None, progress: Progress = lambda done, total: None) -> list[history.Version]:
        """Returns all versions of a row, or of all rows, the latest last. Raises `UnknownName`.

        The page is drawn to find what it does not show; bundles without evidence are scored first.
        """
        versions = history.history(self.storage, row)
        stands = any(version.standing for version in versions)
        return history.without_not_shown(versions, self._page.not_shown(progress)) if stands else versions
