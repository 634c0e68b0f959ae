"""Selects the results that the page shows, adds their evidence, and draws the page.

A result that cannot be read, confirmed or drawn is left out, and the reason is listed. It never prevents the page from being
drawn with the other results.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superbench.board.bundles.bundle import Bundle, Entry
from superbench.board.bundles.evidence import Evidence
from superbench.board.bundles.references import References
from superbench.board.bundles.verify import examine_entry
from superbench.board.page import contents, missing_plugins, shot_sections
from superbench.board.page.counted import Counted, LeftOut, Origin, counted, reason_of
from superbench.board.page.details import ScoredPredictions
from superbench.board.storage.base import Reading
from superbench.board.storage.documents import references_for, usable
from superbench.board.storage.sealed_evidence import SealedEvidence
from superbench.errors import BadResult, Refusal, Unavailable
from superbench.results import rows
from superbench.results.grouping import Known, grouped
from superbench.results.published import published, superseded
from superbench.results.shots import is_untrained

Progress = Callable[[int, int], object]

MOST_DRAWN = 1_000_000
"""Most characters of one row with its details; ten tasks with full sweeps need 50 000."""


@dataclass(frozen=True)
class Shown:
    """A result that is shown, with its evidence; `origin` is None for one that is not on the board yet.
    `missing`: its task cannot be loaded here, so it has no evidence, and its scores are not shown."""

    bundle: Bundle
    entry: Entry
    evidence: Evidence
    origin: Origin | None = None
    missing: bool = False

    @property
    def answers(self) -> ScoredPredictions:
        """Predictions sorted by (fold, id), with their errors and the replicates."""
        ordered = sorted(self.entry.predictions, key=lambda prediction: (prediction.fold, prediction.id))
        return ScoredPredictions(ordered, self.evidence.errors, self.evidence.replicates)

    @property
    def known(self) -> Known:
        """The facts that decide with which other results this one is compared."""
        evidence = self.evidence
        return Known(evidence.replicates, evidence.labels, evidence.own, evidence.predicted)


Fresh = Mapping[tuple[str, str], Evidence]
"""Newly computed evidence, by the digest of its bundle and the name of the entry."""


def verified(
    storage: Reading,
    sealed: SealedEvidence,
    entries: Sequence[Counted],
    left_out: list[LeftOut],
    progress: Progress = lambda done, total: None,
) -> tuple[list[Shown], Fresh]:
    """Returns the entries whose scores are confirmed, with their evidence, and the new evidence.

    An entry without evidence is scored now: its bundle was copied into the folder by hand, or its references have changed. The
    reasons why other entries are not confirmed are added to `left_out`.
    """
    shown: list[Shown] = []
    seen: dict[tuple[str, str], References | None] = {}
    fresh: dict[tuple[str, str], Evidence] = {}
    is_known = missing_plugins.looked_up()
    for number, (bundle, entry, origin) in enumerate((one.bundle, one.entry, one.origin) for one in entries):
        progress(number, len(entries))
        data_key = (entry.result.task.name, entry.result.data.fingerprint)
        if entry.result.shots is None and not is_known(entry.result):
            shown.append(Shown(bundle, entry, missing_plugins.NO_EVIDENCE, origin, missing=True))
            continue
        try:
            if data_key not in seen:
                seen[data_key] = references_for(storage, *data_key)
            evidence = usable(sealed.find(storage, bundle.digest, entry.name), seen[data_key])
            if evidence is None:
                evidence = fresh[bundle.digest, entry.name] = examine_entry(
                    entry, lambda task, fingerprint: seen[task, fingerprint]
                )
        except Unavailable:  # a fault of the storage, not of the entry
            raise
        except Exception as error:
            left_out.append(LeftOut(f"{bundle.upstream}: {entry.name}", reason_of(error), bundle.digest, entry.name))
            continue
        shown.append(Shown(bundle, entry, evidence, origin))
    progress(len(entries), len(entries))
    return shown, fresh


# ---------------------------------------------------------------- drawing


def page_data(
    shown: Sequence[Shown], left_out: Sequence[LeftOut] = (), *, everything: bool = False
) -> tuple[dict[str, Any], dict[str, str]]:
    """Returns the page's data, and the bundles that cannot be drawn: digest -> reason.

    If drawing fails, each bundle is drawn alone. If all can be drawn alone, the first with which drawing fails is left out.
    """
    kept, removed = list(shown), dict[str, str]()
    while True:
        try:
            data = _drawn_together(kept, [*map(str, left_out), *removed.values()], everything)
            undrawable = _too_large(kept, data)
        except Exception:
            if not kept:  # only published rows are left: a bug of superbench
                raise
            undrawable = _undrawable(kept, everything)
        if not undrawable:
            return data, removed
        removed |= undrawable
        kept = [result for result in kept if result.bundle.digest not in removed]


def require_drawable(storage: Reading, sealed: SealedEvidence, bundle: Bundle, evidence: Mapping[str, Evidence]) -> None:
    """Draws the board with this bundle added; raises `Refusal` if it cannot be drawn.

    Bundles on the board without evidence are left out; they are not scored for this.
    """
    shown = {
        rows.place_of(result.entry.result): result
        for result in _with_evidence(storage, sealed, counted(storage, [], hidden=True))
    }
    for name, of_entry in evidence.items():
        shown[rows.place_of(bundle.entries[name].result)] = Shown(bundle, bundle.entries[name], of_entry)
    _, removed = page_data(list(shown.values()))
    if bundle.digest in removed:
        raise Refusal(removed[bundle.digest], "drawing")


def _with_evidence(storage: Reading, sealed: SealedEvidence, entries: Sequence[Counted]) -> list[Shown]:
    """Returns the entries that have evidence; skips those that cannot be read."""
    shown = []
    for bundle, entry in ((one.bundle, one.entry) for one in entries):
        task, fingerprint = entry.result.task.name, entry.result.data.fingerprint
        with contextlib.suppress(BadResult):
            evidence = usable(sealed.find(storage, bundle.digest, entry.name), references_for(storage, task, fingerprint))
            if evidence is not None:
                shown.append(Shown(bundle, entry, evidence))
    return shown


def _drawn_together(shown: Sequence[Shown], left_out: Sequence[str], everything: bool) -> dict[str, Any]:
    """Returns the page's data, as plain values; raises any error that a result causes."""
    by_key = {rows.key_of(result.entry.result): result for result in shown}
    groups = grouped([result.entry.result for result in shown], {key: result.known for key, result in by_key.items()})
    missing = [result.entry.result for result in shown if result.missing]
    groups = [missing_plugins.without_tasks(group, {result.task.name for result in missing}) for group in groups]
    used = {key for group in groups for row in group.rows for key in row.cells}
    every = rows.columns(result.entry.result for result in shown if not result.missing)
    columns = [column for column in every if column.primary or column.reference or column.key in used]
    origins = {key: result.origin for key, result in by_key.items() if result.origin is not None}
    sections = shot_sections.sections(groups, columns, origins)
    groups = [group for group in groups if not is_untrained(group)]
    groups.append(rows.Group(contents.PUBLISHED, tuple(published(columns))))
    if everything:
        groups.append(rows.Group(contents.SUPERSEDED, tuple(superseded(columns))))
    answers = {
        key: result.answers for key, result in by_key.items() if result.entry.result.shots is None and not result.missing
    }
    scored = lambda result: answers.get(rows.key_of(result))  # noqa: E731 -- its type is that of the argument
    return contents.contents(groups, columns, left_out, scored, sections, origins, missing_plugins.facts_of(missing))


def _too_large(shown: Sequence[Shown], data: Mapping[str, Any]) -> dict[str, str]:
    """Returns the bundles whose rows are too large for the page. Raises `ValueError` for a number that is not finite, wherever
    the page has it."""
    json.dumps(data, allow_nan=False)
    sizes = Counter[tuple[str, str]]()
    for group in data["groups"]:
        for row in group["rows"]:
            sizes[row["name"], row["revision"]] += len(json.dumps(row))
    for section in data["sections"]:
        for index, row in enumerate(section["rows"]):
            at_every_k = [view["rows"].get(index) for view in section["shots"]]
            sizes[row["name"], row["revision"]] += len(json.dumps([row, at_every_k]))
    heavy = {}
    for result in shown:
        size = sizes[result.entry.result.upstream.name, result.entry.result.upstream.revision]
        if size > MOST_DRAWN:
            most = f"at most {MOST_DRAWN / 1e6:.0f} MB are drawn"
            heavy[result.bundle.digest] = (
                f"{result.bundle.upstream}: its row would take {size / 1e6:.1f} MB of the page; {most}"
            )
    return heavy


def _undrawable(shown: Sequence[Shown], everything: bool) -> dict[str, str]:
    """Returns the bundles that cannot be drawn alone; if there are none, the first with which drawing the board fails."""
    bundles = list(dict.fromkeys(result.bundle.digest for result in shown))
    parts = [[result for result in shown if result.bundle.digest == digest] for digest in bundles]
    alone = {part[0].bundle.digest: why for part in parts if (why := _drawing_error(part, everything))}
    if alone:
        return alone
    low, high = 0, len(parts)  # the first `low` can be drawn together, the first `high` cannot
    while high - low > 1:
        middle = (low + high) // 2
        fault = _drawing_error([result for part in parts[:middle] for result in part], everything)
        low, high = (low, middle) if fault else (middle, high)
    last = parts[high - 1]
    return {last[0].bundle.digest: f"{last[0].bundle.upstream}: cannot be drawn together with the other rows"}


def _drawing_error(shown: Sequence[Shown], everything: bool) -> str:
    """Returns why some results cannot be drawn; empty if they can."""
    try:
        json.dumps(_drawn_together(shown, [], everything), allow_nan=False)
    except Exception as error:
        return f"{shown[0].bundle.upstream}: cannot be drawn: {reason_of(error)}"
    return ""
