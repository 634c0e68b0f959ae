"""From what a board holds to what its page shows: the results that count, each with its evidence, drawn so that none of them
can keep the others from being shown.

What cannot be read, does not hold or cannot be drawn is left out, with the reason; a board is always drawn.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from superbench.board.bundles.bundle import Bundle, Entry, open_bundle
from superbench.board.bundles.evidence import Evidence
from superbench.board.bundles.verify import examine_entry
from superbench.board.page import contents
from superbench.board.page.details import ScoredPredictions
from superbench.board.storage.base import Reading
from superbench.board.storage.documents import references_for, usable
from superbench.board.storage.rulings import active_bundles
from superbench.board.storage.sealed_evidence import SealedEvidence
from superbench.errors import BadResult, Refusal, SuperbenchError, Unavailable
from superbench.results import rows
from superbench.results.grouping import Known, grouped
from superbench.results.published import published, superseded

Progress = Callable[[int, int], object]
Counted = tuple[Bundle, Entry]

MOST_DRAWN = 1_000_000
"""Characters of one row with all that stands behind it; ten tasks with full sweeps need 50 000."""


@dataclass(frozen=True)
class Shown:
    """A result that counts, with what scoring it again left behind."""

    bundle: Bundle
    entry: Entry
    evidence: Evidence

    @property
    def answers(self) -> ScoredPredictions:
        """What stands behind the row."""
        given = sorted(self.entry.predictions, key=lambda one: (one.fold, one.id))
        return ScoredPredictions(given, self.evidence.errors, self.evidence.replicates)

    @property
    def known(self) -> Known:
        """What decides whom its result is compared with."""
        one = self.evidence
        return Known(one.replicates, one.labels, one.own, one.predicted)


# ---------------------------------------------------------------- what counts


def counted(storage: Reading, left_out: list[str]) -> list[Counted]:
    """The entries that count: of each upstream's task the latest, whatever else its bundle holds; what was withdrawn does not.

    Why a bundle cannot be read goes to `left_out`.
    """
    latest: dict[rows.Place, Counted] = {}
    for held in active_bundles(storage):
        try:
            bundle = open_bundle(storage.data(held.place or held.digest))
        except Unavailable:
            raise
        except Exception as error:  # one bundle, whatever is wrong with it, is not the board
            left_out.append(f"{PurePath(held.place or held.digest).name}: {_reason(error)}")
            continue
        for entry in bundle.entries.values():
            place = rows.place_of(entry.result)
            if place in latest and latest[place][1].packed != entry.packed:
                del latest[place]  # the same predictions keep their place in the order: who came later with them is the copy
            latest[place] = (bundle, entry)
    return list(latest.values())


Fresh = Mapping[tuple[str, str], Evidence]
"""Evidence that was made now, by its bundle's digest and task."""


def verified(
    storage: Reading,
    sealed: SealedEvidence,
    entries: Sequence[Counted],
    left_out: list[str],
    progress: Progress = lambda done, total: None,
) -> tuple[list[Shown], Fresh]:
    """The entries whose scores hold, with their evidence; what has none yet is scored now (a bundle that somebody put into the
    folder by hand, or whose references changed). Why others do not hold goes to `left_out`."""
    shown: list[Shown] = []
    seen: dict[tuple[str, str], Any] = {}
    fresh: dict[tuple[str, str], Evidence] = {}
    for number, (bundle, entry) in enumerate(entries):
        progress(number, len(entries))
        home = (entry.result.task.name, entry.result.data.fingerprint)
        try:
            if home not in seen:
                seen[home] = references_for(storage, *home)
            evidence = usable(sealed.find(storage, bundle.digest, home[0]), seen[home])
            if evidence is None:
                evidence = fresh[bundle.digest, home[0]] = examine_entry(
                    entry, lambda task, fingerprint: seen[task, fingerprint]
                )
        except Unavailable:  # no word about the entry
            raise
        except Exception as error:
            left_out.append(f"{bundle.upstream}: {home[0]}: {_reason(error)}")
            continue
        shown.append(Shown(bundle, entry, evidence))
    progress(len(entries), len(entries))
    return shown, fresh


# ---------------------------------------------------------------- drawing


def page_data(
    shown: Sequence[Shown], left_out: Sequence[str] = (), *, everything: bool = False
) -> tuple[dict[str, Any], dict[str, str]]:
    """The page's data, and the bundles that were left out since they cannot be drawn: digest -> reason.

    Where drawing fails, each bundle is drawn alone; if all can be, the one with which it begins to fail goes.
    """
    kept, gone = list(shown), dict[str, str]()
    while True:
        try:
            found = _drawn_together(kept, [*left_out, *gone.values()], everything)
            heavy = _too_large(kept, found)
        except Exception:
            if not kept:  # the published rows alone: our own mistake
                raise
            heavy = _undrawable(kept, everything)
        if not heavy:
            return found, gone
        gone |= heavy
        kept = [one for one in kept if one.bundle.digest not in gone]


def require_drawable(
    storage: Reading, sealed: SealedEvidence, candidates: Sequence[tuple[Bundle, Mapping[str, Evidence]]]
) -> None:
    """Draw the board as it would be with these bundles; raises `Refusal` if one of them cannot be drawn.

    Bundles that were never scored here are not scored for it.
    """
    shown = {rows.place_of(one.entry.result): one for one in _with_evidence(storage, sealed, counted(storage, []))}
    for bundle, evidence in candidates:
        for task, one in evidence.items():
            shown[rows.place_of(bundle.entries[task].result)] = Shown(bundle, bundle.entries[task], one)
    _, gone = page_data(list(shown.values()))
    refused = [gone[bundle.digest] for bundle, _ in candidates if bundle.digest in gone]
    if refused:
        raise Refusal("; ".join(refused), "drawing")


def _with_evidence(storage: Reading, sealed: SealedEvidence, entries: Sequence[Counted]) -> list[Shown]:
    """Those that were scored before; what cannot be read is no hindrance to others."""
    found = []
    for bundle, entry in entries:
        task, fingerprint = entry.result.task.name, entry.result.data.fingerprint
        with contextlib.suppress(BadResult):
            evidence = usable(sealed.find(storage, bundle.digest, task), references_for(storage, task, fingerprint))
            if evidence is not None:
                found.append(Shown(bundle, entry, evidence))
    return found


def _drawn_together(shown: Sequence[Shown], left_out: Sequence[str], everything: bool) -> dict[str, Any]:
    """Everything that the page shows, as plain values; raises whatever a result makes go wrong."""
    by_key = {rows.key_of(one.entry.result): one for one in shown}
    groups = grouped([one.entry.result for one in shown], {key: one.known for key, one in by_key.items()})
    had = {key for group in groups for row in group.rows for key in row.cells}
    columns = [column for column in rows.columns() if column.primary or column.reference or column.key in had]
    groups.append(rows.Group(contents.PUBLISHED, tuple(published(columns))))
    if everything:
        groups.append(rows.Group(contents.SUPERSEDED, tuple(superseded(columns))))
    answers = {key: one.answers for key, one in by_key.items()}
    return contents.contents(groups, columns, left_out, lambda result: answers.get(rows.key_of(result)))


def _too_large(shown: Sequence[Shown], found: Mapping[str, Any]) -> dict[str, str]:
    """Bundles whose rows say more than a page can hold. Raises `ValueError` for a number that is not finite."""
    sizes: dict[tuple[str, str], int] = {}
    for group in found["groups"]:
        for row in group["rows"]:
            sizes[row["name"], row["revision"]] = len(json.dumps(row, allow_nan=False))
    heavy = {}
    for one in shown:
        size = sizes.get((one.entry.result.upstream.name, one.entry.result.upstream.revision), 0)
        if size > MOST_DRAWN:
            most = f"at most {MOST_DRAWN / 1e6:.0f} MB are drawn"
            heavy[one.bundle.digest] = f"{one.bundle.upstream}: its row would take {size / 1e6:.1f} MB of the page; {most}"
    return heavy


def _undrawable(shown: Sequence[Shown], everything: bool) -> dict[str, str]:
    """The bundles that cannot be drawn alone; if all can, the first with which the board cannot be drawn any more."""
    bundles = list(dict.fromkeys(one.bundle.digest for one in shown))
    parts = [[one for one in shown if one.bundle.digest == digest] for digest in bundles]
    alone = {part[0].bundle.digest: why for part in parts if (why := _drawing_error(part, everything))}
    if alone:
        return alone
    low, high = 0, len(parts)  # the first `low` can be drawn together, the first `high` cannot
    while high - low > 1:
        middle = (low + high) // 2
        fault = _drawing_error([one for part in parts[:middle] for one in part], everything)
        low, high = (low, middle) if fault else (middle, high)
    last = parts[high - 1]
    return {last[0].bundle.digest: f"{last[0].bundle.upstream}: cannot be drawn beside the other rows"}


def _drawing_error(shown: Sequence[Shown], everything: bool) -> str:
    """Why some results cannot be drawn; empty if they can."""
    try:
        json.dumps(_drawn_together(shown, [], everything), allow_nan=False)
    except Exception as error:
        return f"{shown[0].bundle.upstream}: cannot be drawn: {_reason(error)}"
    return ""


def _reason(error: Exception) -> str:
    """A reason of ours in its words; of anything else its kind too. The page shows no paths."""
    text = (error.strerror or "") if isinstance(error, OSError) else str(error)[:300]
    return text if isinstance(error, SuperbenchError) else f"{type(error).__name__}: {text}"
