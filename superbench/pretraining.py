"""`superbench pretrain`: an upstream learns from a folder of unlabelled sound.

Every update draws its files, crops and masks from (seed, update) alone, so training that was killed and repeated ends with the
same weights as training that was not. One file in twenty is held out; its loss is written beside the training loss.
"""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from superbench import registry
from superbench.checkpoints import fresh_model, save_model
from superbench.contract import SAMPLE_RATE, Audio, Pretraining
from superbench.errors import BadCorpus, CommandError, StoreError
from superbench.features.audio import load
from superbench.files import load_tensors, write_text
from superbench.preparation import prepare
from superbench.probing.training import fit, seeded
from superbench.reporting import Reporter

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg")
HELD_OUT = 20
IN_MEMORY_BYTES = 2 * 2**30
CHECKS = 10


def pretrain(name: str, audio: Path, out: Path, *, steps: int | None, seed: int, device: str, reporter: Reporter) -> None:
    """Train upstream `name` (a size may follow: `apc:base`) on the sound under `audio`, and write its checkpoint to `out`.

    Raises `CommandError` for a name that cannot be trained, `BadCorpus` for a folder without sound.
    """
    spec = registry.parse(name)
    family = registry.plugin(spec)
    size = spec.options[0] if spec.options else "mini"
    if spec.hub or spec.file or not hasattr(family, "configs"):
        raise CommandError(
            f"{name!r} cannot be pretrained; `superbench list upstreams` shows what can (apc, tera, mockingjay)."
        )
    if size not in family.configs or len(spec.options) > 1:
        raise CommandError(f"{name!r}: expected one of the sizes {', '.join(family.configs)}.")
    files = sound_files(audio)
    plan: Pretraining = family.pretraining[size]
    total = steps or plan.steps
    place = "cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu"
    model = fresh_model(family, size, seed).to(place)
    log: list[Any] = []
    identity = hashlib.sha256(f"{name} {total} {seed} {plan} {[str(file) for file in files]}".encode()).hexdigest()[:16]
    if _made(out, identity):
        reporter.note(f"{out} was there already, made from the same sound with the same settings")
        return
    learner = Learner(model, files, plan, total, seed, place)
    resume = out.with_name(out.name + ".resume")

    def evaluate(step: int) -> None:
        log.append({"step": step, "loss": learner.recent(), "held out": learner.held_out()})

    if place == "cpu" and size == "mini":
        torch.set_num_threads(1)  # small recurrent steps: a second thread doubles the processor time and saves none of the wall
    fit(
        learner, steps=total, evaluate_every=max(total // CHECKS, 1), evaluate=evaluate, log=log, checkpoint=resume,
        identity=identity, checkpoint_every=max(total // CHECKS, 1), reporter=reporter, stage=f"pretrain {spec.name}",
    )  # fmt: skip
    facts = {"steps": str(total), "seed": str(seed), "files": str(len(files)), "made": identity}
    save_model(out, model, family=spec.name, size=size, facts=facts)
    write_text(out.with_suffix(".csv"), _table(log))
    resume.unlink(missing_ok=True)


def _made(out: Path, identity: str) -> bool:
    """Is the checkpoint there the one that would be made?"""
    if not out.is_file():
        return False
    try:
        return load_tensors(out)[1].get("made") == identity
    except StoreError:
        return False


def sound_files(folder: Path) -> list[Path]:
    """Sound files under a folder, sorted, `._*` companions left out; raises `BadCorpus` if there is none."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and not p.name.startswith("._"))
    if not found:
        state = "holds no sound file" if folder.is_dir() else "is not a folder"
        raise BadCorpus(
            f"{folder} {state} ({', '.join(SUFFIXES)}). Give --audio a folder of speech; it is searched recursively."
        )
    return found


def _table(log: list[Any]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["step", "loss", "held out"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(log)
    return text.getvalue()


class Learner:
    """A model in pretraining: AdamW with linear warm-up and decay over random crops."""

    def __init__(self, model: nn.Module, files: list[Path], plan: Pretraining, steps: int, seed: int, device: str) -> None:
        self.model, self.plan, self.steps, self.seed, self.device = model, plan, steps, seed, device
        self.training = [file for i, file in enumerate(files) if i % HELD_OUT or len(files) < HELD_OUT]
        self.testing = files[::HELD_OUT][:32]
        self.losses: list[float] = []
        self._waves: dict[Path, np.ndarray] = {}
        self._room = IN_MEMORY_BYTES
        prepare(model, self.training, self.wave, seed, None)  # may add weights, so it comes before the optimizer
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)

    def step(self, number: int) -> float:
        """One update."""
        random = np.random.default_rng([self.seed, number])
        crop = round(self.plan.seconds * SAMPLE_RATE)
        waves = []
        for index in random.integers(0, len(self.training), self.plan.batch):
            wave = self._wave(self.training[index])
            start = int(random.integers(0, max(len(wave) - crop, 0) + 1))
            waves.append(wave[start : start + crop])
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate * self._schedule(number)
        with seeded(self.seed, number):
            loss = self.model.loss(*self._batch(waves))  # type: ignore[operator]
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.plan.clip)
        self.optimizer.step()
        self.losses.append(float(loss.detach()))
        return self.losses[-1]

    def recent(self) -> float:
        """Mean loss of the last updates."""
        last = self.losses[-50:]
        return round(sum(last) / len(last), 4) if last else 0.0

    @torch.no_grad()
    def held_out(self) -> float:
        """Loss on the files that are never trained on, masks drawn always alike."""
        self.model.eval()
        losses = []
        for at in range(0, len(self.testing), 16):
            waves = [self._wave(file)[: 10 * SAMPLE_RATE] for file in self.testing[at : at + 16]]
            with seeded(self.seed, at, 99):
                losses.append(float(self.model.loss(*self._batch(waves))))  # type: ignore[operator]
        return round(sum(losses) / len(losses), 4)

    def state(self) -> dict[str, Tensor]:
        """Weights, moments, recent losses."""
        state = {f"model/{key}": value.clone() for key, value in self.model.state_dict().items()}
        state["losses"] = torch.tensor(self.losses[-50:], dtype=torch.float64)
        for slot, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"adam/{slot}/{key}": torch.as_tensor(value).clone() for key, value in moments.items()}
        return state

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        self.model.load_state_dict({key[6:]: value for key, value in state.items() if key.startswith("model/")})
        self.losses = state["losses"].tolist()
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if key.startswith("adam/"):
                _, slot, name = key.split("/")
                slots.setdefault(int(slot), {})[name] = value
        self.optimizer.load_state_dict({"state": slots, "param_groups": self.optimizer.state_dict()["param_groups"]})

    def _schedule(self, number: int) -> float:
        """Linear warm-up, then linear decay to zero."""
        warm = max(round(self.plan.warmup * self.steps), 1)
        return min((number + 1) / warm, (self.steps - number) / max(self.steps - warm, 1))

    def wave(self, file: Path) -> Tensor:
        """The whole file (samples,) as the model hears it."""
        return torch.from_numpy(self._wave(file).astype(np.float32) / 32767).to(self.device)

    def _wave(self, file: Path) -> np.ndarray:
        """The wave as 16-bit numbers, kept in memory while there is room."""
        if file not in self._waves:
            wave = (load(Audio(file)).clamp(-1, 1) * 32767).to(torch.int16).numpy()
            if wave.nbytes > self._room:
                return wave
            self._room -= wave.nbytes
            self._waves[file] = wave
        return self._waves[file]

    def _batch(self, waves: list[np.ndarray]) -> tuple[Tensor, Tensor]:
        tensors = [torch.from_numpy(wave.astype(np.float32) / 32767) for wave in waves]
        lengths = torch.tensor([len(one) for one in tensors])
        return pad_sequence(tensors, batch_first=True).to(self.device), lengths.to(self.device)
