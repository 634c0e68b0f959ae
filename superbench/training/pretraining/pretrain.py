"""`superbench pretrain`: trains an upstream on a folder of unlabelled audio.

The files, crops and masks of an update depend on (seed, update) alone. Training that was killed and resumed therefore ends with
the same weights as training without interruption. One file in twenty is held out; its loss is reported with the training loss.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from superbench import plugins
from superbench.contract import Precision, Prepared, Pretraining
from superbench.errors import CommandError, SuperbenchError, UnknownName
from superbench.plugins import Loaded, Spec
from superbench.plugins.checkpoints import TRAINED_ON, declare_data, fresh_model, save_model
from superbench.plugins.doctor import efficiency
from superbench.system.devices import device_of, fast_precision, repeatable_sums
from superbench.system.progress import Reporter, Silence
from superbench.system.ranges import require_whole
from superbench.training.loop import fit
from superbench.training.pretraining.curves import Curves
from superbench.training.pretraining.learner import Learner, TrainingOptions, repeatable
from superbench.training.pretraining.output import OutputFiles
from superbench.training.pretraining.unlabelled import HELD_OUT, Recording, Unlabelled, identity, name_of, recordings
from superbench.training.tracking import Tracker, require_tracker, tracking

SMALL = ("nano", "micro", "mini")
SMALL_THREADS = 2
"""The most threads for `SMALL` sizes on a CPU; more threads do not speed up such small updates."""
UNKNOWN_DATA = "unknown data of its teacher"
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
    echo: bool = False,
    replace: bool = False,
    track: str | None = None,
    trained_on: str | None = None,
) -> None:
    """Train upstream `name` (a size may follow: `apc:base`) on the audio files under `audio`; write its checkpoint to `out`.

    `steps` is the number of updates (default: the schedule of the size). `precision`: auto (bfloat16 on a GPU), float32 or
    bfloat16. The batch of each update is split into `accumulate` parts. `teacher` is the spec of a frozen upstream, for models
    that learn from one. With `echo`, the training sequences are echo episodes: every second sound is another view of the one
    before it (`speech_gpt` only). `track` names a tracker for the curves; `trained_on` the speech (default: its folder's name).

    A run that was killed resumes from its last `OUT.resume`. Files of another run are an error, or overwritten with `replace`.
    Raises `CommandError` for a name that cannot be trained, `BadCorpus` for a folder without audio, `BadAudio` for bad files.
    """
    _check_numbers(steps, seed, accumulate, track)
    (spec, family, size), device = _model(name, teacher, echo), _device(device)
    options = TrainingOptions(
        steps=steps or family.pretraining[size].steps, seed=seed, device=device, precision=_precision(precision, device),
        accumulate=accumulate, echo=echo,
    )  # fmt: skip
    files = OutputFiles(Path(out))
    with files.alone(), repeatable(device):
        teaching = plugins.upstream(plugins.parse(teacher), device) if teacher else None
        _Training(
            spec=spec, family=family, size=size, options=options, teacher=teaching, files=files, reporter=reporter or Silence(),
            track=track, trained_on=trained_on,
        ).perform(Path(audio), replace=replace)  # fmt: skip


def _check_numbers(steps: int | None, seed: int, accumulate: int, track: str | None) -> None:
    require_tracker(track)
    if steps is not None:
        require_whole("--steps", steps, least=1)
    require_whole("--seed", seed)
    require_whole("--accumulate", accumulate, least=1)


@dataclass(frozen=True, slots=True)
class _Training:
    """One training of one model, from audio files to a checkpoint."""

    spec: Spec
    family: Any
    size: str
    options: TrainingOptions
    teacher: Loaded | None
    files: OutputFiles
    reporter: Reporter
    track: str | None = None
    trained_on: str | None = None

    @property
    def plan(self) -> Pretraining:
        """The schedule of the size."""
        return self.family.pretraining[self.size]

    def perform(self, audio: Path, *, replace: bool) -> None:
        """Train on the audio under `audio`, unless the finished checkpoint exists already."""
        recorded = recordings(audio, self.reporter)
        model = fresh_model(self.family, self.size, self.options.seed)
        run = _run(self.spec, self.size, model, self.plan, self.options, self.teacher) | identity(recorded, audio)
        if self.files.made(run, replace):
            self.reporter.note(f"{self.files.out} exists already, trained on the same audio with the same settings")
            if self.trained_on and declare_data(self.files.out, self._sources(audio)):
                self.reporter.note(f"it now says that it was trained on {self._sources(audio)}")
            return
        _note_before_training(self.files, len(recorded), self.reporter)
        self.files.room(sum(weight.nbytes for weight in model.state_dict().values()))
        wanted = None if self.track == "tensorboard" else self.track  # the curves beside the checkpoint are TensorBoard's
        folder, facts = self.files.out.with_suffix(".tracked"), {"run": _text(run)}
        with (
            _threads(self.options.device, self.size),
            tracking(wanted, f"pretrain {self.files.out.stem}", folder, facts, self.reporter) as tracker,
        ):
            self.train(model, recorded, run, tracker)
        facts = {
            "steps": str(self.options.steps), "seed": str(self.options.seed), "files": str(len(recorded)), "run": _text(run)
        }  # fmt: skip
        if self.options.echo:
            facts["echo"] = run["echo"]
        facts[TRAINED_ON] = self._sources(audio)
        save_model(self.files.out, model, family=self.spec.name, size=self.size, facts=facts)
        self.files.resume.unlink(missing_ok=True)

    def _sources(self, audio: Path) -> str:
        """The names of the data that the weights come from, those of a teacher included."""
        speech = self.trained_on or name_of(audio)
        taught = None if self.teacher is None else efficiency.trained_on(self.teacher) or UNKNOWN_DATA
        return ", ".join(dict.fromkeys([speech] if taught in (None, efficiency.NOTHING) else [speech, *taught.split(", ")]))

    def train(self, model: nn.Module, recorded: list[Recording], run: dict[str, str], tracker: Tracker) -> None:
        """Fit the model; curves and the resume file are written next to the checkpoint."""
        options, reporter = self.options, self.reporter
        unlabelled = Unlabelled(recorded, self.plan, options.seed)
        learner = Learner(model, unlabelled, self.plan, options, self.teacher.model if self.teacher else None)
        curves = Curves(self.files.out, reporter)
        log: list[Any] = []
        every = min(max(options.steps // CHECKS, 1), CHECK_UPDATES)

        def evaluate(step: int) -> None:
            """Records the losses after `step` updates."""
            row = {"step": step, "loss": learner.recent(), "held out": learner.held_out()}
            log.append(row | {"learning rate": float(f"{learner.rate(step - 1):.4g}")})
            curves.check(log)
            tracker.log(step, {"loss/held out": row["held out"]})
            reporter.note(f"update {step} of {options.steps}: loss {row['loss']}, held out {row['held out']}")

        def updated(step: int, loss: float) -> None:
            rate = learner.rate(step - 1)
            curves.update(step, loss, rate)
            tracker.log(step, {"loss/training": loss, "learning rate": rate})

        try:
            fit(
                learner, steps=options.steps, evaluate_every=every, evaluate=evaluate, log=log, checkpoint=self.files.resume,
                identity=_text(run), checkpoint_every=every, checkpoint_seconds=RESUME_SECONDS, reporter=reporter,
                stage=f"pretrain {self.spec.name}",
                updated=updated,
            )  # fmt: skip
        finally:
            curves.close()
            learner.close()


def _note_before_training(outputs: OutputFiles, files: int, reporter: Reporter) -> None:
    if outputs.damaged:
        reporter.note(f"{outputs.out} was damaged, so the model is trained again. The damaged file is now {outputs.damaged}")
    if outputs.former:
        reporter.note(
            "the content of the audio files has changed, so the model is trained again. "
            f"The earlier checkpoint is now {outputs.former}"
        )
    if files < HELD_OUT:
        reporter.note(f"{files} files: too few to hold one out, so the held-out loss is that of a training file")


@contextlib.contextmanager
def _threads(device: str, size: str) -> Iterator[None]:
    before = torch.get_num_threads()
    if device == "cpu" and size in SMALL:
        torch.set_num_threads(min(before, SMALL_THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _model(name: str, teacher: str | None, echo: bool) -> tuple[Spec, Any, str]:
    """Return spec, class and size of the model to train; raises `CommandError` if it cannot be trained."""
    spec = plugins.parse(name)
    if not spec.hub and ".py:" not in spec.name and spec.name not in {row.name for row in plugins.listed(plugins.UPSTREAMS)}:
        raise UnknownName("model that can be pretrained", spec.name, _trainable(), "superbench list upstreams")
    family = plugins.plugin(spec)
    size = spec.options[0] if spec.options else "mini"
    if spec.hub or spec.file or not hasattr(family, "configs"):
        raise CommandError(
            f"{name!r} cannot be pretrained; these can: {', '.join(_trainable())}. `superbench list upstreams` describes them."
        )
    if size not in family.configs or len(spec.options) > 1:
        raise CommandError(f"{name!r}: expected one of the sizes {', '.join(family.configs)}.")
    if teacher and not hasattr(family, "prepare"):
        raise CommandError(f"{spec.name} does not use a teacher; remove --teacher {teacher}.")
    _check_echo(spec, family, echo)
    return spec, family, size


def _check_echo(spec: Spec, family: Any, echo: bool) -> None:
    if echo and not hasattr(family, "echo_loss"):
        can = [name for name in _trainable() if hasattr(plugins.plugin(plugins.parse(name)), "echo_loss")]
        raise CommandError(
            f"{spec.name} cannot be pretrained on echo episodes, because it has no method `echo_loss`; use --echo with "
            f"{' or '.join(can)}, or remove it."
        )


def _trainable() -> list[str]:
    names = []
    for row in plugins.listed(plugins.UPSTREAMS):
        try:
            names += [row.name] if hasattr(plugins.plugin(plugins.parse(row.name)), "configs") else []
        except SuperbenchError:
            continue  # a plugin that cannot be imported cannot be trained
    return names


def _device(requested: str) -> str:
    device = device_of(requested)
    if device == "cuda":
        repeatable_sums()
    return device


def _precision(requested: str, device: str) -> Precision:
    """Return the requested precision; `auto` is bfloat16 on a GPU that supports it, else float32."""
    if requested == "auto":
        return fast_precision(device)
    known: dict[str, Precision] = {"float32": "float32", "bfloat16": "bfloat16"}
    if requested not in known:
        raise CommandError(f"--precision {requested}: expected auto, float32 or bfloat16.")
    return known[requested]


def _run(
    spec: Spec, size: str, model: nn.Module, plan: Pretraining, options: TrainingOptions, teacher: Loaded | None
) -> dict[str, str]:
    """Return everything that determines the weights, as text."""
    run = {"model": spec.name, "size": size, "configuration": _text(asdict(model.config))}  # type: ignore[call-overload]
    run |= {key: str(value) for key, value in asdict(options).items()} | {"schedule": _text(asdict(plan))}
    if not options.echo:
        del run["echo"]  # runs without it have the identity that they had before the option existed
    if isinstance(model, Prepared):
        run["teacher"] = f"{teacher.alias} {teacher.revision}" if teacher else "none"
    return run


def _text(facts: dict[str, Any]) -> str:
    return json.dumps(facts, sort_keys=True)
