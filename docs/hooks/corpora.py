"""Generates the layout and source of each corpus from the cards of the registered tasks."""

from __future__ import annotations

from importlib.metadata import entry_points

MARK = "<!-- corpora -->"
ORDER = ("pr", "asr", "ks", "qbe", "sid", "asv", "sd", "er", "ic", "sf")


def table() -> str:
    """Returns a section for each built-in task, in the order of SUPERB."""
    points = {point.name: point for point in entry_points(group="superbench.tasks")}
    return "\n".join(_section(points[name].load().card) for name in ORDER)


def _section(card: object) -> str:
    facts = {
        name: getattr(card, name)
        for name in ("name", "title", "corpus", "licence", "layout", "obtain", "miniature", "withheld")
    }
    lines = [f"### {facts['title']} (`{facts['name']}`)", f"Corpus: {facts['corpus']}. Licence: {facts['licence']}."]
    if facts["withheld"]:
        lines.append(f"Test labels may not be passed on: {facts['withheld']}.")
    lines += [f"```text\n{facts['layout'].rstrip()}\n```", f"```text\n{facts['obtain'].rstrip()}\n```"]
    lines.append(f"The miniature: {facts['miniature']}.")
    return "\n\n".join(lines) + "\n"
