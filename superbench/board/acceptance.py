"""Accepting a submission: bundles are opened, scored again and drawn, then stored in one write.

A bundle is accepted completely, or refused with the reasons; a refusal does not change the board.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from superbench.board.bundles.bundle import Bundle, Entry, one_per_upstream, open_bundle, sendable
from superbench.board.bundles.evidence import Evidence
from superbench.board.bundles.references import References
from superbench.board.bundles.verify import examine
from superbench.board.outcome import Outcome
from superbench.board.page import shown_results
from superbench.board.storage import row_changes, rulings, tokens
from superbench.board.storage.base import KEEPER, Reading, Storage, StoredBundle, Writing, event, now
from superbench.board.storage.documents import confirm, references_for
from superbench.board.storage.sealed_evidence import SealedEvidence
from superbench.errors import Conflict, Refusal, SuperbenchError
from superbench.results.rows import key_of


@dataclass(frozen=True, slots=True)
class SubmissionReceipt:
    """The outcome of a submission. `fresh` is False if the board already contained the same bundle; `hidden`: readers without a
    token do not see it."""

    upstream: str
    tasks: tuple[str, ...]
    place: str
    fresh: bool
    digest: str = ""
    hidden: bool = False


Told = Callable[[SubmissionReceipt], object]


@dataclass(frozen=True)
class Examined:
    """A bundle whose scores have all been confirmed, with the evidence by task. It can be accepted."""

    bundle: Bundle
    evidence: Mapping[str, Evidence]


@dataclass(frozen=True, slots=True)
class Acceptance:
    """Examines and accepts bundles for the board in `storage`; `sealed` keeps the evidence."""

    storage: Storage
    sealed: SealedEvidence

    def submit(
        self,
        folder: Path | Sequence[Path],
        *,
        by: str = "",
        without_references: bool = False,
        hidden: bool = False,
        told: Told = lambda receipt: None,
    ) -> list[SubmissionReceipt]:
        """Accepts the results of every upstream under `folder`, each bundle completely or not at all.

        A bundle that is refused does not stop the others; then a `Refusal` with all reasons is raised at the end. `told` is
        called with every receipt.
        """
        bundles = one_per_upstream(folder, without_references)
        outcome, receipts = Outcome("The board", len(bundles)), list[SubmissionReceipt]()
        for name, data in bundles:
            try:
                receipts.append(self._submit(sendable(data), by, hidden))
            except Refusal as error:
                outcome.refuse(name, error)
                continue
            except SuperbenchError as error:
                outcome.note_in(error)
                raise
            outcome.accepted.append(receipts[-1].upstream)
            told(receipts[-1])
        outcome.require_accepted()
        return receipts

    def _submit(self, data: bytes, by: str, hidden: bool) -> SubmissionReceipt:
        examined = self.examine(data)
        with self.storage.writing() as writer:
            return self._accept(writer, examined, by, again=True, hidden=hidden)

    def examine(self, data: bytes) -> Examined:
        """Opens a bundle, scores it again, and draws the page with it; raises a `Refusal`."""
        bundle = open_bundle(data)
        examined = Examined(bundle, examine(bundle, self._references_for))
        shown_results.require_drawable(self.storage, self.sealed, bundle, examined.evidence)
        return examined

    def accept(self, examined: Examined, by: str = "", token: str = "", *, hidden: bool = False) -> SubmissionReceipt:
        """Accepts an examined bundle; raises `Conflict`, `NotAllowed` if the token with this digest was revoked, and `Refusal`
        if the references have changed since."""
        with self.storage.writing() as writer:
            return self._accept(writer, examined, by, token=token, again=False, hidden=hidden)

    def refuse(self, subject: str, reason: Refusal, by: str = "") -> None:
        """Writes into the log why something was refused."""
        with self.storage.writing() as writer:
            writer.log(event(by or KEEPER, "refused", subject[:200], f"{reason.code}: {reason}"[:2000]))

    def _accept(
        self, writer: Writing, examined: Examined, by: str, *, again: bool, token: str = "", hidden: bool = False
    ) -> SubmissionReceipt:
        bundle, accepted = examined.bundle, writer.bundles()
        tasks = tuple(sorted(bundle.entries))
        same = [stored for stored in accepted if stored.digest and bundle.digest.startswith(stored.digest)]
        if same:
            require_again(writer, bundle.upstream, same[0], again=again)
            return SubmissionReceipt(
                upstream=bundle.upstream, tasks=tasks, place=same[0].place, fresh=False, digest=bundle.digest
            )
        tokens.require_valid(writer, token)
        if by_other := _same_results(writer, bundle, by):
            if not again:
                raise Conflict(
                    f"The row {bundle.upstream!r} is on this board already, with the same predictions, submitted by "
                    f"{by_other.by or KEEPER} at {by_other.accepted}; it counts once.",
                    "present",
                )
            return SubmissionReceipt(
                upstream=bundle.upstream, tasks=tasks, place=by_other.place, fresh=False, digest=bundle.digest
            )
        _require_own_name(bundle.upstream, by, rulings.active_bundles(writer))
        for name, evidence in examined.evidence.items():
            result = bundle.entries[name].result
            confirm(references_for(writer, result.task.name, result.data.fingerprint), evidence, name)
            self.sealed.keep(writer, bundle.digest, name, evidence)
        latest = accepted[-1].accepted if accepted else ""
        moment = max(now(), f"{latest}0" if latest else "")  # the order of acceptance survives a clock that is set back
        stored = writer.add(StoredBundle(bundle.digest, bundle.upstream, moment, by), bundle.data)
        writer.log(event(by or KEEPER, "accepted", bundle.digest, f"{bundle.upstream}: {', '.join(tasks)}"))
        hidden = hidden or bundle.upstream in row_changes.hidden_names(writer)
        if hidden:
            row_changes.hide_new(writer, stored, by or KEEPER)
        return SubmissionReceipt(
            upstream=bundle.upstream, tasks=tasks, place=stored.place, fresh=True, digest=bundle.digest, hidden=hidden
        )

    def _references_for(self, task: str, fingerprint: str) -> References | None:
        return references_for(self.storage, task, fingerprint)


def require_again(storage: Reading, upstream: str, same: StoredBundle, *, again: bool) -> None:
    """Raises `Conflict` for a bundle that the board has: if it was withdrawn, or may not be submitted `again`."""
    if rulings.ruling_of(storage, same).withdrawn:
        raise Conflict(f"The same bundle of {upstream} was withdrawn from this board.", "withdrawn")
    if not again:
        raise Conflict(f"The same bundle of {upstream} was accepted at {same.accepted}; a bundle is accepted once.", "replayed")


def _same_results(storage: Reading, bundle: Bundle, by: str) -> StoredBundle | None:
    """Returns somebody else's bundle of the same row with the same predictions for every task, such as a baseline that several
    people run; None if there is none."""
    for stored in rulings.active_bundles(storage):
        if stored.upstream != bundle.upstream or stored.by == by:
            continue
        other = rulings.opened(storage, stored)
        if other is not None and all(_is_same(entry, other.entries.get(name)) for name, entry in bundle.entries.items()):
            return stored
    return None


def _is_same(entry: Entry, other: Entry | None) -> bool:
    """Returns whether two entries have the same model, task, data and predictions; clocks and machines may differ."""
    if other is None or key_of(entry.result)[1:] != key_of(other.result)[1:]:
        return False
    return entry.packed == other.packed or entry.predictions == other.predictions


def _require_own_name(name: str, by: str, bundles: Sequence[StoredBundle]) -> None:
    """Raises `Conflict` if the name belongs to another token, looks like a name that is on the board, or like a digest.

    A name belongs to the token that submitted it first, or was given the row; to the keeper if there was no token.
    """
    owners = {stored.by for stored in bundles if stored.upstream == name}
    if owners - {by}:
        owner = "somebody else" if owners - {by, ""} else "the board's keeper"
        raise Conflict(f"The name {name!r} belongs to {owner} on this board. Run under an alias: alias=spec.", "name")
    row_changes.require_free(name, [stored.upstream for stored in bundles])
