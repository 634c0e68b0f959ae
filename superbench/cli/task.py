"""`superbench task new`: writes the file of a task on a person's own corpus."""

from __future__ import annotations

import os
import re
import shlex
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from superbench.errors import CommandError

app = typer.Typer(help="Make a task on your own corpus.", no_args_is_help=True)

TEMPLATE = '''\
"""{title}: {kind} of the sounds in {manifest}. Every line may be changed; `superbench check {file}:TASK` examines it."""

from pathlib import Path

from downstream.own_tasks import {kind}
from superbench import Recipe

TASK = {kind}(
    "{name}",
    Path(__file__).parent / "{manifest}",  # columns path, label, split, speaker
    title="{title}",
    version=1,  # raise it whenever a change can move a score
    corpus="{title}",
    licence="not stated",{shared}
    recipe=Recipe(
        steps={steps}, batch={batch}, evaluate_every={every}, learning_rates={rates},{options}
    ),
)
'''


class TaskKind(str, Enum):
    """The kinds of tasks."""

    classification = "classification"
    tagging = "tagging"
    ctc = "ctc"
    verification = "verification"


MEANS = {"steps": 2_000, "batch": 32, "every": 200, "rates": "(1e-1, 1e-2, 1e-3, 1e-4)", "options": ""}
FRAMES = {
    "steps": 4_000, "batch": 16, "every": 400, "rates": "(2e-3, 5e-4)",
    "options": '\n        sampler="windows",\n        options={"units": "characters", "width": 256, "feature_width": 16, "time_width": 8},',
}  # fmt: skip


@app.command("new")
def new(
    source: Annotated[Path, typer.Option("--from", help="The list of sounds: a .csv, .tsv or .jsonl with path, label, split and speaker, or a folder of Kaldi", show_default=False)],
    kind: Annotated[TaskKind, typer.Option(help="classification: one label for a sound; tagging: several (dog;rain); ctc: what is said, as text; verification: do two sounds have the same label")] = TaskKind.classification,
    out: Annotated[Path | None, typer.Option(help="The file to write [default: the name of the task, with _task.py, beside the list]", show_default=False)] = None,
    name: Annotated[str | None, typer.Option(help="The name of the task in results and on boards [default: that of the list]", show_default=False)] = None,
    shared_speakers: Annotated[bool, typer.Option("--shared-speakers", help="Allow speakers of train in dev and test")] = False,
) -> None:  # fmt: skip
    """Write a file of about 20 lines with a task on your own corpus. The list is checked first.

    Example: superbench task new --from calls/manifest.csv --name calls; then superbench run fbank --tasks calls/calls_task.py:TASK
    """
    from superbench import plugins
    from superbench.cli.display import console
    from superbench.contract.corpora import Corpora
    from superbench.data.manifest import read_manifest
    from superbench.system.files import require_place, write_text

    if out is not None and out.suffix != ".py":
        raise CommandError(f"--out {out}: a task is a file of Python; give a name that ends in .py.")
    manifest = read_manifest(source, shared_speakers=shared_speakers)
    named = _name_of(source) if name is None else name
    plugins.require_name(named, str(source) if name is None else "--name")
    target = out or source.parent / f"{re.sub(r'[^A-Za-z0-9_]', '_', named)}_task.py"
    if target.exists():
        raise CommandError(f"{target} exists already; nothing was written. Give --out another file, or remove it.")
    require_place(target, f"--out {target}")
    (fold,) = plugins.kind(kind.value)(named, source, shared_speakers=shared_speakers).read(Corpora(source.parent))
    write_text(target, _text(source, target, named, kind, shared_speakers))
    counts = ", ".join(f"{len(manifest.of(split))} {split}" for split in ("train", "dev", "test"))
    console.print(f"{target}: {kind.value} of {len(manifest.rows)} sounds ({counts}).", soft_wrap=True)
    for remark in fold.remarks:
        console.print(f"Note: {remark}.", soft_wrap=True)
    task = shlex.quote(f"{target}:TASK")
    console.print(f"Next: superbench check {task}", soft_wrap=True)
    console.print(f"      superbench run UPSTREAM --tasks {task} --out results", soft_wrap=True)


def _name_of(source: Path) -> str:
    """Return a name for the task: that of the list, or of its folder if the list is called manifest."""
    resolved = source.resolve()
    stem = resolved.name if source.is_dir() else resolved.stem
    return re.sub(r"[^A-Za-z0-9_-]+", "-", resolved.parent.name if stem.lower() == "manifest" else stem).strip("-_") or "own"


def _text(source: Path, target: Path, name: str, kind: TaskKind, shared_speakers: bool) -> str:
    relative = os.path.relpath(source.resolve(), target.resolve().parent).replace("\\", "/").replace('"', '\\"')
    parts = FRAMES if kind is TaskKind.ctc else MEANS
    shared = "\n    shared_speakers=True," if shared_speakers else ""
    title = name[:1].upper() + name[1:].replace("_", " ").replace("-", " ")
    return TEMPLATE.format(title=title, kind=kind.value, manifest=relative, file=target.name, name=name, shared=shared, **parts)
