"""Writes the results of one upstream as metadata of a model hub: a card with `model-index`, and `.eval_results/*.yaml`.

Formats: Hugging Face's model cards and evaluation results (huggingface.co/docs/hub/model-cards, .../eval-results). The owner of
the model must add licence and training data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from superbench import plugins
from superbench.__version__ import __version__
from superbench.contract import TaskCard
from superbench.errors import CommandError
from superbench.results.export import OFFICIAL, Exported, gathered, left_out
from superbench.results.result import Result, ScoreFacts, is_miniature
from superbench.system.files import require_folder, write_text
from superbench.system.ranges import in_full

PROTOCOL_PAPER = "https://arxiv.org/abs/2105.01051"
"""SUPERB (Yang et al. 2021): the link of each number, if the user gives no URL of the results themselves."""

HUB_DATASET = "s3prl/superb"
PRIVATE_DATASET = "speech-superbench"
"""Owner of dataset names that exist on no hub; results of other protocols use it, so that no hub ranks them."""


def card(folder: Path, out: Path, tasks: Sequence[str] = (), url: str = PROTOCOL_PAPER) -> Exported:
    """Write `out/README.md` and `out/.eval_results/*.yaml` from the results of one upstream under `folder`.

    `url` is the public address of the results. Raises `BadResult`, `CommandError` (also if `out` has a README.md already).
    """
    results = list(gathered(folder, tasks).values())
    page = out / "README.md"
    if page.exists():
        raise CommandError(f"{page} exists already. Choose another folder with --out, and merge the two cards by hand.")
    require_folder(out, f"--out {out}")
    cards = {name: task.card for name, task in plugins.tasks().items()}
    known = [(result, cards[result.task.name]) for result in results if result.task.name in cards]
    if not known:
        raise CommandError(
            f"No task of the results in {folder} is installed here. Install the plugins that define these tasks."
        )
    write_text(page, _page(known, url))
    for official, protocol in sorted({(_official(result), result.task.protocol) for result, _ in known}):
        name = "superb" if official else f"superbench-{protocol}"
        entries = [
            _entry(result, task_card, url)
            for result, task_card in known
            if (_official(result), result.task.protocol) == (official, protocol)
        ]
        write_text(out / ".eval_results" / f"{name}.yaml", "\n".join(block(entries)) + "\n")
    doubts = (*_doubts([result for result, _ in known]), *left_out(folder))
    return Exported(out, tuple(result.task.name for result, _ in known), doubts)


def _doubts(results: Sequence[Result]) -> Iterator[str]:
    yield "Add the licence of your model (README.md, first lines)."
    other = [result.task.name for result in results if not _official(result)]
    if other:
        yield f"{', '.join(other)}: not the official protocol and corpus; the card states this, and no hub ranks these scores."
    for result in results:
        if result.deviations:
            yield f"{result.task.name}: deviates from the recipe: {'; '.join(result.deviations)}."


# ---------------------------------------------------------------- the card


def _page(known: Sequence[tuple[Result, TaskCard]], url: str) -> str:
    first = known[0][0].upstream
    head = block(
        {
            "tags": ["speech", "self-supervised-learning", "superb", "superbench"],
            "model-index": [{"name": first.name, "results": [_indexed(result, card, url) for result, card in known]}],
        }
    )
    rows = [
        f"| {card.title} | {_corpus(result, card)} | {result.task.protocol} | {_metric(name)} "
        f"{'↑' if score.higher_is_better else '↓'} | {_number(score)} | {_chosen(result)} |"
        for result, card in known
        for name, score in result.scores.items()
    ]
    macs = "" if first.macs is None else f", {first.macs / 1e9:.2f} GMACs on SUPERB's 32 lengths"
    return "\n".join(
        [
            "---",
            "# license: fill in, for example apache-2.0",
            *head,
            "---",
            "",
            f"# {_plain(first.name)}",
            "",
            f"Frozen features, evaluated by superbench {__version__}: {first.params:,} parameters{macs}, a frame every "
            f"{first.hop / 16:g} ms, {first.layers} hidden states of {first.dim} (revision `{first.revision}`).",
            "",
            "| task | corpus | protocol | metric | value (95 % interval) | learning rate |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            *_warned(known),
        ]
    )


def _warned(known: Sequence[tuple[Result, TaskCard]]) -> Iterator[str]:
    for result, card in known:
        if not _official(result):
            facts = [card.differences.get(result.task.protocol, "see superbench")] * (result.task.protocol != OFFICIAL)
            facts += [f"on a synthetic miniature ({card.miniature or 'see superbench'})"] * is_miniature(result)
            yield f"* {card.title}, protocol {result.task.protocol}: {'; '.join(facts)}. Not an official number."
        if result.deviations:
            yield f"* {card.title} deviates from its recipe: {'; '.join(result.deviations)}."
    yield ""


def _indexed(result: Result, card: TaskCard, url: str) -> dict[str, Any]:
    """Return one entry of `model-index`: a task on a corpus, with all its metrics."""
    return {
        "task": {"type": _slug(card.title), "name": card.title},
        "dataset": {
            "type": _slug(_corpus(result, card)),
            "name": _corpus(result, card),
            "config": result.task.protocol,
            "split": "test",
            "args": {"task_version": result.task.version, "fingerprint": result.data.fingerprint},
        },
        "metrics": [
            {"type": name, "value": score.value, "name": f"{card.name.upper()} {_metric(name)}", "args": _args(score)}
            for name, score in result.scores.items()
        ],
        "source": {"name": "superbench", "url": url},
    }


def _corpus(result: Result, card: TaskCard) -> str:
    return card.corpus + " (synthetic miniature)" * is_miniature(result)


def _official(result: Result) -> bool:
    """Return whether the result was made with the official recipe on the official corpus."""
    return result.task.protocol == OFFICIAL and not is_miniature(result)


def _args(score: ScoreFacts) -> dict[str, Any]:
    interval = {} if score.ci is None else {"interval95": list(score.ci), "interval_method": score.ci_method or ""}
    return {"unit": score.unit, "higher_is_better": score.higher_is_better, **interval}


def _entry(result: Result, card: TaskCard, url: str) -> dict[str, Any]:
    """Return one entry of `.eval_results`: the primary metric of a task."""
    private = "miniature" if result.task.protocol == OFFICIAL else result.task.protocol
    score = result.scores[result.primary]
    notes = [f"{_metric(result.primary)}{' in percent' if score.unit == '%' else ''}", f"protocol {result.task.protocol}"]
    return {
        "dataset": {"id": HUB_DATASET if _official(result) else f"{PRIVATE_DATASET}/{private}", "task_id": card.name},
        "value": score.value,
        **({"date": result.environment["date"]} if "date" in result.environment else {}),
        "source": {"url": url, "name": "superbench"},
        "notes": ", ".join([*notes, *result.deviations]),
    }


def _number(score: ScoreFacts) -> str:
    digits = 3 if score.unit == "fraction" else 2
    between = "" if score.ci is None else f" ({score.ci[0]:.{digits}f} – {score.ci[1]:.{digits}f})"
    return f"{score.value:.{digits}f}{' %' if score.unit == '%' else ''}{between}"


def _chosen(result: Result) -> str:
    rates = {rate for choice in result.chosen.values() if (rate := choice.get("lr")) is not None}
    return ", ".join(in_full(rate) for rate in sorted(rates)) or "–"


def _metric(name: str) -> str:
    return name.replace("_", " ")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _plain(text: str) -> str:
    """Return a name with the special characters of Markdown escaped."""
    return re.sub(r"([\\`*_\[\]<>#|])", r"\\\1", text)


# ---------------------------------------------------------------- YAML


def block(value: Mapping[str, Any] | Sequence[Any]) -> list[str]:
    """Return lines of YAML: mappings and lists of mappings in block style, everything else as JSON (a subset of YAML).

    >>> block({"name": "apc", "results": [{"value": 6.6e-05, "args": {"ci": [1, 2]}}]})
    ['name: "apc"', 'results:', '  - value: 0.000066', '    args:', '      ci: [1, 2]']
    """
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            nested = (isinstance(item, Mapping) and item) or (isinstance(item, list) and item and isinstance(item[0], Mapping))
            lines += [f"{key}:", *(f"  {line}" for line in block(item))] if nested else [f"{key}: {_scalar(item)}"]
        return lines
    for item in value:
        first, *rest = block(item)
        lines += [f"- {first}", *(f"  {line}" for line in rest)]
    return lines


def _scalar(value: Any) -> str:
    """Return JSON, with floats in fixed-point notation: YAML 1.1 reads a float with an exponent but no point as text."""
    if isinstance(value, float):
        text = f"{value:.6f}".rstrip("0")
        return text + "0" if text.endswith(".") else text
    if isinstance(value, list):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False)
