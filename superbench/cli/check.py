"""`superbench check`: is a model, or a task, sound? What was measured, and what will be done about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.arguments import AsJson, Device
from superbench.cli.printing import echo_json

if TYPE_CHECKING:
    from superbench.plugins.doctor.examination import Examination


def check(
    name: Annotated[str, typer.Argument(help="An upstream (apc@FILE, hf/./folder, my_model.py:MyModel, ...) or a task", show_default=False)],
    as_json: AsJson = False,
    quick: Annotated[bool, typer.Option("--quick", help="A long sound of 12 s in place of 60 s, for large models on a CPU")] = False,
    device: Device = "auto",
) -> None:  # fmt: skip
    """The doctor: does an upstream, or a task, keep its contract? Prints what was measured, or the reasons; exit status 1 if
    unfit.

    A model is called on noise, silence, clipped, very short and long sound, alone and beside others; it must declare what it
    gives, give the same twice, and learn nothing. `superbench run` does the same before anything is extracted.

    Example: superbench check torchaudio/wavlm_base_plus --quick
    """
    from superbench.cli.display import stages
    from superbench.runs.commands import check as checked
    from superbench.system.progress import Silence

    with stages() as bars:
        found = checked(name, quick=quick, device=device, reporter=Silence() if as_json else bars)
    examination = found.examination
    if as_json:
        mates = {"mates": examination.mates} if found.kind == "upstream" else {}
        rows = [asdict(finding) for finding in examination.findings]
        facts = {"name": name, **found.facts, "healthy": found.healthy, **mates}
        echo_json({**facts, "reasons": found.reasons, "findings": rows})
    else:
        _show(name, examination, "a task" if found.kind == "task" else "an upstream")
    if not found.healthy:
        raise typer.Exit(1)


def _show(name: str, found: Examination, kind: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from superbench.cli.display import console

    table = Table("", "check", "measured")
    for finding in found.findings:
        mark = ("✓", "green") if finding.holds else ("✗", "red") if finding.fatal else ("!", "yellow")
        then = f"\n→ {finding.action}" if finding.action and not finding.holds else ""
        table.add_row(Text(*mark), finding.name, finding.measured + then)
    console.print(table)
    if not found.healthy:
        console.print(f"{name} does not keep the contract of {kind}:", markup=False)
        for reason in found.reasons:
            console.print(f"  {reason}", markup=False)
        return
    console.print(f"{name} keeps the contract of {kind}.", markup=False)
    for action in found.actions:
        console.print(f"  Extraction: {action}.", markup=False)
