"""`superbench pretrain`: an upstream learns from a folder of unlabelled sound.

Every update draws its files, crops and masks from (seed, update) alone, so training that was killed and repeated ends with the
same weights as training that was not. One file in twenty is held out; its loss is written beside the training loss.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from superbench import plugins
from superbench.contract import Precision, Prepared, Pretraining
from superbench.errors import CommandError, SuperbenchError
from superbench.plugins import Loaded, Spec
from superbench.plugins.checkpoints import fresh_model, save_model
from superbench.system.devices import device_of, fast_precision, repeatable_sums
from superbench.system.progress import Reporter, Silence
from superbench.system.ranges import require_whole
from superbench.training.loop import fit
from superbench.training.pretraining.curves import Curves
from superbench.training.pretraining.learner import Learner, TrainingOptions, repeatable
from superbench.training.pretraining.output import OutputFiles
from superbench.training.pretraining.unlabelled import HELD_OUT, Recording, Unlabelled, identity, recordings

MINI_THREADS = 2
"""At most, for `mini` sizes on a CPU: more do not help steps so small."""
CHECKS = 10
CHECK_UPDATES = 1000
RESUME_SECONDS = 600.0


def pretrain(
    name: str,
    audio: Path | str,
    out: Path | str,
    *,
    steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    reporter: Reporter | None = None,
    precision: str = "auto",
    accumulate: int = 1,
    teacher: str | None = None,
    replace: bool = False,
) -> None:
    """Train upstream `name` (a size may follow: `apc:base`) on the sound under `audio`, and write its checkpoint to `out`.

    `steps`: updates; left out, the size's own schedule. `precision`: auto (bfloat16 on a GPU), float32 or bfloat16. Each
    update's batch passes in `accumulate` parts. `teacher` is the spec of a frozen upstream for models that learn from one.

    A run that was killed goes on where its last `OUT.resume` stands; files of another run are an error, or with `replace`
    overwritten. Raises `CommandError` for a name that cannot be trained, `BadCorpus` for a folder without sound, `BadAudio` for
    sound that cannot be read.
    """
    audio, out, reporter = Path(audio), Path(out), reporter or Silence()
    _check_numbers(steps, seed, accumulate)
    spec, family, size = _model(name, teacher)
    place, plan, kind = OutputFiles(out), family.pretraining[size], _device(device)
    way = TrainingOptions(
        steps=steps or plan.steps, seed=seed, device=kind, precision=_precision(precision, kind), accumulate=accumulate
    )
    with place.alone(), repeatable(kind):
        found = recordings(audio, reporter)
        guide = plugins.upstream(plugins.parse(teacher), kind) if teacher else None
        model = fresh_model(family, size, seed)
        run = _run(spec, size, model, plan, way, guide) | identity(found, audio)
        if place.made(run, replace):
            reporter.note(f"{out} was there already, made from the same sound with the same settings")
            return
        _say_beforehand(place, len(found), reporter)
        place.room(sum(weight.nbytes for weight in model.state_dict().values()))
        with _threads(kind, size):
            _train(place, model, found, plan, way, guide, run, reporter, f"pretrain {spec.name}")
        facts = {"steps": str(way.steps), "seed": str(seed), "files": str(len(found)), "run": _text(run)}
        save_model(out, model, family=spec.name, size=size, facts=facts)
        place.resume.unlink(missing_ok=True)


def _check_numbers(steps: int | None, seed: int, accumulate: int) -> None:
    if steps is not None:
        require_whole("--steps", steps, least=1)
    require_whole("--seed", seed)
    require_whole("--accumulate", accumulate, least=1)


def _say_beforehand(place: OutputFiles, files: int, reporter: Reporter) -> None:
    if place.damaged:
        reporter.note(f"{place.out} was damaged: it did not hold what was written; trained anew. It is kept as {place.damaged}")
    if place.former:
        reporter.note(f"sound was exchanged under the same names: trained anew; the checkpoint of before is {place.former}")
    if files < HELD_OUT:
        reporter.note(f"{files} files: too few to hold one out, so the held-out loss is of a file that was trained on")


@contextlib.contextmanager
def _threads(device: str, size: str) -> Iterator[None]:
    before = torch.get_num_threads()
    if device == "cpu" and size == "mini":
        torch.set_num_threads(min(before, MINI_THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _train(
    place: OutputFiles, model: nn.Module, found: list[Recording], plan: Pretraining, way: TrainingOptions,
    teacher: Loaded | None, run: dict[str, str], reporter: Reporter, stage: str,
) -> None:  # fmt: skip
    """Fit the model; curves and the file to resume from stand beside the checkpoint."""
    learner = Learner(model, Unlabelled(found, plan, way.seed), plan, way, teacher.model if teacher else None)
    curves = Curves(place.out, reporter)
    log: list[Any] = []
    every = min(max(way.steps // CHECKS, 1), CHECK_UPDATES)

    def evaluate(step: int) -> None:
        row = {"step": step, "loss": learner.recent(), "held out": learner.held_out()}
        log.append(row | {"learning rate": float(f"{learner.rate(step - 1):.4g}")})
        curves.check(log)
        reporter.note(f"update {step} of {way.steps}: loss {row['loss']}, held out {row['held out']}")

    def updated(step: int, loss: float) -> None:
        curves.update(step, loss, learner.rate(step - 1))

    try:
        fit(
            learner, steps=way.steps, evaluate_every=every, evaluate=evaluate, log=log, checkpoint=place.resume,
            identity=_text(run), checkpoint_every=every, checkpoint_seconds=RESUME_SECONDS, reporter=reporter, stage=stage,
            updated=updated,
        )  # fmt: skip
    finally:
        curves.close()
        learner.close()


def _model(name: str, teacher: str | None) -> tuple[Spec, Any, str]:
    """Spec, class and size of what is to be trained."""
    spec = plugins.parse(name)
    family = plugins.plugin(spec)
    size = spec.options[0] if spec.options else "mini"
    if spec.hub or spec.file or not hasattr(family, "configs"):
        raise CommandError(
            f"{name!r} cannot be pretrained; these can: {', '.join(_trainable())}. `superbench list upstreams` says what they "
            "are."
        )
    if size not in family.configs or len(spec.options) > 1:
        raise CommandError(f"{name!r}: expected one of the sizes {', '.join(family.configs)}.")
    if teacher and not hasattr(family, "prepare"):
        raise CommandError(f"{spec.name} learns from sound alone; leave out --teacher {teacher}.")
    return spec, family, size


def _trainable() -> list[str]:
    names = []
    for row in plugins.listed(plugins.UPSTREAMS):
        try:
            names += [row.name] if hasattr(plugins.plugin(plugins.parse(row.name)), "configs") else []
        except SuperbenchError:
            continue  # a plugin that does not import is no answer to this question
    return names


def _device(wanted: str) -> str:
    device = device_of(wanted)
    if device == "cuda":
        repeatable_sums()
    return device


def _precision(wanted: str, device: str) -> Precision:
    """bfloat16 where a GPU computes in it, unless something else is asked for."""
    if wanted == "auto":
        return fast_precision(device)
    known: dict[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16"}
    if wanted not in known:
        raise CommandError(f"--precision {wanted}: expected auto, float32 or bfloat16.")
    return known[wanted]


def _run(
    spec: Spec, size: str, model: nn.Module, plan: Pretraining, way: TrainingOptions, teacher: Loaded | None
) -> dict[str, str]:
    """Everything that the weights follow from, in words."""
    run = {"model": spec.name, "size": size, "configuration": _text(asdict(model.config))}  # type: ignore[call-overload]
    run |= {key: str(value) for key, value in asdict(way).items()} | {"schedule": _text(asdict(plan))}
    if isinstance(model, Prepared):
        run["teacher"] = f"{teacher.alias} {teacher.revision}" if teacher else "none"
    return run


def _text(facts: dict[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True)
