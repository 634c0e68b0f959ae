"""`superbench check`: runs the contract checks for an upstream or a task, and shows measurements and consequences."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from superbench.cli.arguments import AsJson, Device
from superbench.cli.printing import echo_json
from superbench.system.spelling import visible

if TYPE_CHECKING:
    from superbench.plugins.doctor.examination import Examination


def check(
    name: Annotated[str, typer.Argument(help="An upstream (apc@FILE, hf/./folder, my_model.py:MyModel, ...) or a task (ks, my_task.py:TASK)", show_default=False)],
    as_json: AsJson = False,
    quick: Annotated[bool, typer.Option("--quick", help="Use a long input of 12 s instead of 60 s, for large models on a CPU")] = False,
    device: Device = "auto",
    data: Annotated[Path | None, typer.Option(help="Folder with the corpus of a task that has no miniature one [default: that of the task's file]", show_default=False)] = None,
) -> None:  # fmt: skip
    """Check whether an upstream, or a task, satisfies its contract. Prints the measurements, or the reasons; exit status 1 if it
    does not.

    A model is called on noise, silence, clipped, very short and long audio, alone and in batches. Its outputs must have the
    declared shape and must be repeatable, and it must not be trained. `superbench run` makes the same checks before extraction.

    Warns if another package named superbench is installed (Microsoft's superbenchmark has one).

    Example: superbench check torchaudio/wavlm_base_plus --quick
    """
    from superbench.cli.display import stages
    from superbench.runs.commands import check as run_checks
    from superbench.system.installation import advice, foreign
    from superbench.system.progress import Silence

    if others := foreign():  # first, because it may be the reason why nothing can be loaded
        typer.echo(visible(f"! {advice(others)}"), err=True)
    with stages() as bars:
        outcome = run_checks(name, quick=quick, device=device, data=data, reporter=Silence() if as_json else bars)
    examination = outcome.examination
    if as_json:
        batching = {"mates": examination.batching} if outcome.kind == "upstream" else {}
        rows = [asdict(finding) for finding in examination.findings]
        facts = {"name": name, "foreign": others, **outcome.facts, "healthy": outcome.healthy, **batching}
        echo_json({**facts, "reasons": outcome.reasons, "findings": rows})
    else:
        _show(name, examination, "a task" if outcome.kind == "task" else "an upstream")
    if not outcome.healthy:
        raise typer.Exit(1)


def _show(name: str, examination: Examination, subject: str) -> None:
    from rich.table import Table
    from rich.text import Text

    from superbench.cli.display import console

    table = Table("", "check", "measured")
    for finding in examination.findings:
        mark = ("✓", "green") if finding.holds else ("✗", "red") if finding.fatal else ("!", "yellow")
        action = f"\n→ {finding.action}" if finding.action and not finding.holds else ""
        table.add_row(Text(*mark), finding.name, finding.measured + action)
    console.print(table)
    if not examination.healthy:
        console.print(f"{name} does not keep the contract of {subject}:", markup=False)
        for reason in examination.reasons:
            console.print(f"  {reason}", markup=False)
        return
    console.print(f"{name} keeps the contract of {subject}.", markup=False)
    for action in examination.actions:
        console.print(f"  Extraction: {action}.", markup=False)
