"""Pretraining: any folder of audio, the same weights after any interruption, and files that record their run."""

from __future__ import annotations

import csv
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from superbench import plugins
from superbench.contract import Pretraining
from superbench.contract.corpora import MARKER
from superbench.errors import BadAudio, BadCorpus, BadUpstream, CommandError, StoreError
from superbench.plugins.doctor.efficiency import trained_on
from superbench.system.files import load_tensors
from superbench.system.progress import Silence
from superbench.training.pretraining.learner import Learner, TrainingOptions
from superbench.training.pretraining.output import OutputFiles
from superbench.training.pretraining.pretrain import pretrain
from superbench.training.pretraining.unlabelled import Buckets, Unlabelled, name_of, recordings

TINY = '''
"""A model with every feature that pretraining supports: dropout, a scaffold, a moving average, a buffer."""
import copy
import time
from dataclasses import dataclass

import torch
from torch import nn

from superbench import Features, Pretraining


@dataclass(frozen=True)
class Config:
    width: int = 8
    dropout: float = 0.2
    pause: float = 0.0


class Tiny(nn.Module):
    sample_rate, hop, layers, dim = 16_000, 320, 1, 8
    prepare_seconds = 1.0
    configs = {"mini": Config()}
    pretraining = {"mini": Pretraining(steps=40, batch=4, seconds=0.5, learning_rate=1e-2)}

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.out = nn.Linear(320, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.register_buffer("scale", torch.ones(()))

    def frames(self, waves):
        return waves[:, : waves.shape[1] // 320 * 320].unflatten(1, (-1, 320)) * self.scale

    def forward(self, waves, lengths):
        waves = nn.functional.pad(waves, (0, 320))
        frames = (lengths // 320).clamp(min=1)
        hidden = self.out(self.frames(waves))[:, : int(frames.max())]
        inside = torch.arange(hidden.shape[1])[None] < frames[:, None]
        return Features((hidden * inside[..., None])[None], frames)

    def prepare(self, waves, seed, teacher):
        self.scale.fill_(1 / torch.cat(list(waves)).std())
        self.scaffold = nn.ModuleDict({"head": nn.Linear(self.config.width, 320), "target": copy.deepcopy(self.out)})
        self.scaffold["target"].requires_grad_(False)

    def loss(self, waves, lengths):
        time.sleep(self.config.pause)
        frames = self.frames(waves)
        hidden = self.out(self.dropout(frames))
        followed = (hidden - self.scaffold["target"](frames)).square().mean()
        return (self.scaffold["head"](hidden) - frames).square().mean() + followed

    @torch.no_grad()
    def after_update(self):
        self.scaffold["target"].weight.lerp_(self.out.weight, 0.1)


class Slow(Tiny):
    configs = {"mini": Config(pause=0.02)}


class Plain(Tiny):
    configs = {"mini": Config(dropout=0.0)}


class Whole(Tiny):
    pretraining = {"mini": Pretraining(steps=40, batch=4, seconds=0.5, learning_rate=1e-2, whole_utterances=True)}


class Bursting(Tiny):
    def loss(self, waves, lengths):
        return super().loss(waves, lengths) * float("inf")
'''


class Notes(Silence):
    """A reporter that stores its notes."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 files of 0.2 to 1 s in four formats and two folders."""
    root = tmp_path_factory.mktemp("speech")
    noise = np.random.default_rng(0)
    for number in range(40):
        suffix = ("wav", "flac", "ogg", "mp3")[number % 4]
        wave = np.sin(np.arange(noise.integers(3200, 16_000)) * (0.05 + 0.01 * number)) * 0.3
        path = root / ("a" if number % 2 else "b/c") / f"{number:02}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wave + 0.01 * noise.standard_normal(len(wave)), 16_000)
    (root / "a" / "._00.wav").write_bytes(b"a companion file, no sound")
    return root


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    (tmp_path / "tiny.py").write_text(TINY)
    return tmp_path / "tiny.py"


def train(tiny: Path, speech: Path, out: Path, name: str = "Tiny", **options: Any) -> dict[str, torch.Tensor]:
    usual: dict[str, Any] = {"steps": None, "seed": 0, "device": "cpu", "reporter": Silence(), "replace": True}
    pretrain(f"{tiny}:{name}", speech, out, **(usual | options))
    return load_tensors(out)[0]


def learner(tiny: Path, speech: Path, name: str, **way: Any) -> Learner:
    family = plugins.plugin(plugins.parse(f"{tiny}:{name}"))
    torch.manual_seed(0)
    plan: Pretraining = family.pretraining["mini"]
    sound = Unlabelled(recordings(speech, Silence()), plan, 0)
    return Learner(family(family.configs["mini"]), sound, plan, TrainingOptions(40, 0, "cpu", **way), None)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture(scope="module")
def trained(speech: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of `Tiny`, with its curves and the file of the model in one folder; no test writes into it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.py").write_text(TINY)
    train(folder / "tiny.py", speech, folder / "out.safetensors")
    return folder / "out.safetensors"


def test_every_format_is_found_in_every_folder(speech: Path) -> None:
    found = recordings(speech, Silence())
    assert len(found) == 40
    assert {one.path.suffix for one in found} == {".wav", ".flac", ".ogg", ".mp3"}
    assert all(3000 < one.samples < 19_000 for one in found)


@pytest.mark.slow
def test_the_seed_alone_decides_the_weights(tiny: Path, speech: Path, tmp_path: Path) -> None:
    one = train(tiny, speech, tmp_path / "one.safetensors")
    assert same(one, train(tiny, speech, tmp_path / "again.safetensors"))
    assert not same(one, train(tiny, speech, tmp_path / "other.safetensors", seed=1))


@pytest.mark.slow
def test_the_loss_falls_and_the_held_out_loss_too(trained: Path) -> None:
    rows = list(csv.DictReader(trained.with_suffix(".csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == list(range(4, 41, 4))
    assert float(rows[-1]["loss"]) < 0.9 * float(rows[0]["loss"])
    assert float(rows[-1]["held out"]) < 0.9 * float(rows[0]["held out"])


@pytest.mark.slow
def test_what_only_pretraining_needs_stays_out_of_the_checkpoint(trained: Path) -> None:
    assert set(load_tensors(trained)[0]) == {"out.weight", "out.bias", "scale"}
    loaded = plugins.upstream(plugins.parse(f"mine={trained.with_name('tiny.py')}:Tiny@{trained}"))
    assert loaded.params == 320 * 8 + 8


def test_killed_at_random_points_the_weights_are_those_of_an_undisturbed_run(
    call: Any, tiny: Path, speech: Path, tmp_path: Path
) -> None:
    """`Slow` is `Tiny` with pauses, so that there is time to kill it."""
    undisturbed = train(tiny, speech, tmp_path / "whole.safetensors", "Slow", steps=60)
    out = tmp_path / "killed.safetensors"
    command = ["pretrain", f"{tiny}:Slow", "--audio", str(speech), "--out", str(out), "--steps", "60", "--device", "cpu"]
    chance = random.Random(0)
    resume = OutputFiles(out).resume
    for _ in range(2):
        before = resume.stat().st_mtime_ns if resume.exists() else 0
        process = call.start(*command).process
        until = time.monotonic() + 120
        while not resume.exists() or resume.stat().st_mtime_ns == before:
            assert process.exitcode is None, "it ended before it could be killed"
            assert time.monotonic() < until
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.25))
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not out.exists()
    done = call(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert same(undisturbed, load_tensors(out)[0])
    assert (tmp_path / "killed.csv").read_text() == (tmp_path / "whole.csv").read_text()
    assert sorted(path.name for path in tmp_path.glob("*killed*")) == ["killed.csv", "killed.events", "killed.safetensors"]
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(tmp_path / "killed.events")).Reload()
    assert [one.step for one in events.Scalars("loss/training")] == list(range(1, 61))


@pytest.mark.slow
def test_gradients_in_parts_are_those_of_the_whole_batch(tiny: Path, speech: Path) -> None:
    """`Plain` has no dropout, and its loss is a mean over frames; its crops have equal length."""
    long = [one for one in recordings(speech, Silence()) if one.samples >= 8000 * 1.1]
    weights = []
    for parts in (1, 2, 4):
        found = learner(tiny, speech, "Plain", accumulate=parts)
        found.audio = Unlabelled(long, found.plan, 0)
        for number in range(10):
            found.step(number)
        weights.append(found.model.state_dict()["out.weight"].clone())
    assert not torch.equal(weights[0], weights[2])  # the sums were made in another order: the parts were made at all
    assert max(float((weights[0] - one).abs().max()) for one in weights) < 1e-6


@pytest.mark.slow
def test_in_half_precision_weights_and_moments_stay_whole(tiny: Path, speech: Path) -> None:
    found, exact = learner(tiny, speech, "Tiny", precision="bfloat16"), learner(tiny, speech, "Tiny")
    losses = [(found.step(number), exact.step(number)) for number in range(40)]
    kinds = {value.dtype for key, value in found.state().items() if key != "losses"}
    assert kinds == {torch.float32}
    assert losses[0][0] != losses[0][1]
    assert losses[-1][0] == pytest.approx(losses[-1][1], rel=0.05)


def test_an_epoch_of_buckets_reads_each_utterance_once_and_pads_little() -> None:
    lengths = np.random.default_rng(1).integers(100, 2000, 500).tolist()
    buckets = Buckets(lengths, budget=16_000, seed=0)
    epochs = [[buckets.batch(number) for number in range(at, at + buckets.epoch)] for at in (0, buckets.epoch)]
    for batches in epochs:
        assert sorted(np.concatenate(batches).tolist()) == list(range(500))
        assert max(len(one) * max(lengths[i] for i in one) for one in batches) <= 16_000
        padded = sum(len(one) * max(lengths[i] for i in one) for one in batches)
        assert padded < 1.2 * sum(lengths)
    assert [one.tolist() for one in epochs[0]] != [one.tolist() for one in epochs[1]]
    assert buckets.batch(3).tolist() == epochs[0][3].tolist()  # whatever was asked for between


@pytest.mark.slow
def test_few_files_are_said_to_hold_none_out(tiny: Path, speech: Path, tmp_path: Path) -> None:
    notes = Notes()
    few = tmp_path / "few"
    shutil.copytree(speech / "a", few)
    for file in sorted(few.iterdir())[5:]:
        file.unlink()
    train(tiny, few, tmp_path / "out.safetensors", reporter=notes, steps=2)
    assert any("too few to hold one out" in said for said in notes.said)


@pytest.mark.slow
def test_curves_can_be_read_by_tensorboard(trained: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(trained.with_suffix(".events"))).Reload()
    assert set(events.Tags()["scalars"]) == {"loss/training", "loss/held out", "learning rate"}
    assert [one.step for one in events.Scalars("loss/training")] == list(range(1, 41))
    assert [one.step for one in events.Scalars("loss/held out")] == list(range(4, 41, 4))


@pytest.mark.slow
def test_without_tensorboard_the_table_is_all_and_it_is_said_once(
    tiny: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    notes = Notes()
    train(tiny, speech, tmp_path / "out.safetensors", reporter=notes)
    assert sum("speech-superbench[curves]" in said for said in notes.said) == 1
    assert (tmp_path / "out.csv").is_file()
    assert not (tmp_path / "out.events").exists()


def test_a_file_that_cannot_be_read_is_named_before_anything_is_trained(tiny: Path, speech: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(speech, broken)
    (broken / "a" / "01.flac").write_bytes(b"fLaC and nothing more")
    (broken / "a" / "03.mp3").write_bytes(b"")
    with pytest.raises(BadAudio, match=r"01\.flac.*1 more of the 40 files.*Nothing was trained"):
        train(tiny, broken, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.csv").exists()


def test_a_folder_without_sound_says_what_was_looked_for(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder, words in (("empty", "contains no audio file"), ("nowhere", "is not a folder")):
        with pytest.raises(BadCorpus, match=rf"{words} \(\.wav, \.flac, \.mp3, \.ogg\)"):
            train(tiny, tmp_path / folder, tmp_path / "out.safetensors")


@pytest.mark.slow
def test_a_checkpoint_of_another_run_is_not_overwritten_and_what_differs_is_said(
    tiny: Path, speech: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"
    first = train(tiny, speech, out)
    with pytest.raises(CommandError, match=r"seed 0 in the file, 5 now.*--replace"):
        train(tiny, speech, out, seed=5, replace=False)
    assert same(first, load_tensors(out)[0])
    assert not same(first, train(tiny, speech, out, seed=5, replace=True))
    notes = Notes()
    train(tiny, speech, out, seed=5, replace=False, reporter=notes)
    assert any("exists already" in said for said in notes.said)
    with pytest.raises(CommandError, match=r"model .*Tiny in the file, .*Plain now"):
        train(tiny, speech, out, "Plain", seed=5, replace=False)
    out.write_bytes(b"something else")
    with pytest.raises(CommandError, match="does not record how it was made"):
        train(tiny, speech, out, replace=False)


@pytest.mark.slow
def test_the_same_sound_in_another_place_is_the_same_run(tiny: Path, speech: Path, tmp_path: Path) -> None:
    out, moved, notes = tmp_path / "out.safetensors", tmp_path / "moved", Notes()
    train(tiny, speech, out)
    shutil.copytree(speech, moved)
    train(tiny, moved, out, replace=False, reporter=notes)
    assert any("exists already" in said for said in notes.said)
    (moved / "a" / "01.flac").unlink()
    with pytest.raises(CommandError, match=r"sound 40 files .* in the file, 39 files"):
        train(tiny, moved, out, replace=False)


@pytest.mark.parametrize(
    ("folder", "marker", "said"),
    [
        ("speech", None, "speech"),
        ("LibriSpeech/train-clean-360", None, "LibriSpeech train-clean-360"),
        ("librispeech", None, "librispeech"),
        ("demo/LibriSpeech/train-clean-360", "demo", "LibriSpeech train-clean-360 (miniature)"),
        ("demo", "demo", "demo (miniature)"),
    ],
)
def test_speech_is_named_after_its_corpus_or_its_folder(folder: str, marker: str | None, said: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(parents=True)
    if marker:
        (tmp_path / marker / MARKER).write_text("miniature corpora, seed 23\n")
    assert name_of(tmp_path / folder) == said


def test_a_checkpoint_says_what_it_was_trained_on_and_so_does_that_of_its_student(speech: Path, tmp_path: Path) -> None:
    def pretrained(name: str, **options: Any) -> str | None:
        out = tmp_path / f"{name.partition(':')[0]}.safetensors"
        pretrain(name, speech, out, steps=1, device="cpu", replace=True, **options)
        return trained_on(plugins.upstream(plugins.parse(f"{name.partition(':')[0]}@{out}")))

    assert pretrained("apc:nano") == speech.name
    assert pretrained("apc:nano", trained_on="Libri-Light 60 kh, VoxCeleb2") == "Libri-Light 60 kh, VoxCeleb2"
    assert pretrained("distil", teacher=f"apc@{tmp_path / 'apc.safetensors'}") == f"{speech.name}, Libri-Light 60 kh, VoxCeleb2"
    assert pretrained("distil", teacher="apc:nano,untrained") == speech.name
    revisions = {plugins.upstream(plugins.parse(f"apc@{tmp_path / 'apc.safetensors'}")).revision}
    pretrained("apc:nano")
    revisions |= {plugins.upstream(plugins.parse(f"apc@{tmp_path / 'apc.safetensors'}")).revision}
    assert len(revisions) == 1  # a name changes no number


def exchanged(path: Path) -> None:
    """Replace a file by another waveform of the same length, with the same name and dates."""
    before = path.stat()
    wave, rate = soundfile.read(path)
    soundfile.write(path, wave[::-1], rate)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino) == (
        before.st_size, before.st_mtime_ns, before.st_ino,
    )  # fmt: skip


@pytest.mark.slow
def test_other_sound_of_the_same_names_sizes_and_dates_is_trained_on_anew(tiny: Path, speech: Path, tmp_path: Path) -> None:
    out, sound = tmp_path / "out.safetensors", tmp_path / "sound"
    shutil.copytree(speech, sound)
    first = train(tiny, sound, out)
    exchanged(sound / "b/c/04.wav")
    notes = Notes()
    second = train(tiny, sound, out, replace=False, reporter=notes)
    assert not same(first, second)
    assert any("trained again" in said for said in notes.said)
    (former,) = tmp_path.glob("out.former-*.safetensors")
    assert same(first, load_tensors(former)[0])
    train(tiny, sound, out, replace=False, reporter=notes)
    assert "exists already" in notes.said[-1]


def test_sound_that_is_exchanged_while_training_goes_on_ends_it(tiny: Path, speech: Path, tmp_path: Path) -> None:
    sound = tmp_path / "sound"
    shutil.copytree(speech, sound)
    plan: Pretraining = plugins.plugin(plugins.parse(f"{tiny}:Tiny")).pretraining["mini"]
    found = recordings(sound, Silence())
    (sound / "b/c/04.wav").touch()  # another date, the same sound
    Unlabelled(found, plan, 0).wave(sound / "b/c/04.wav")
    exchanged(sound / "b/c/04.wav")
    with pytest.raises(BadAudio, match=r"04\.wav has changed since training began"):
        Unlabelled(found, plan, 0).wave(sound / "b/c/04.wav")
    (sound / "b/c/04.wav").unlink()
    with pytest.raises(BadAudio, match=r"04\.wav has been removed since training began"):
        Unlabelled(found, plan, 0).wave(sound / "b/c/04.wav")


def test_links_to_folders_are_followed_once_and_loops_end(speech: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    for name, target in (
        ("linked", speech / "a"),
        ("twice", speech / "a"),
        ("inner/up", folder),
        ("inner/self", folder / "inner"),
    ):
        (folder / name).symlink_to(target)
    shutil.copy(speech / "b/c/00.wav", folder / "inner")
    found = [str(one.path.relative_to(folder)) for one in recordings(folder, Silence())]
    assert found == ["inner/00.wav", *sorted(f"linked/{path.name}" for path in (speech / "a").glob("[0-9]*"))]
    only = tmp_path / "only"
    only.mkdir()
    (only / "linked").symlink_to(speech)
    assert len(recordings(only, Silence())) == 40
    assert recordings(only / "linked", Silence())[0].path == only / "linked/a/01.flac"


def test_what_is_left_out_is_said_and_what_can_be_decoded_is_heard(speech: Path, tmp_path: Path) -> None:
    folder, notes = tmp_path / "folder", Notes()
    folder.mkdir()
    wave, rate = soundfile.read(speech / "b/c/00.wav")
    soundfile.write(folder / "heard.opus", wave, rate, format="OGG", subtype="OPUS")
    soundfile.write(folder / "heard.m4a", wave, rate, format="FLAC")
    soundfile.write(folder / "HEARD.AIFF", wave, rate)
    for name in ("one.m4a", "two.M4A", "three.webm"):
        (folder / name).write_bytes(b"\x00\x00\x00\x20ftypM4A " + bytes(100))
    (folder / "four.opus").touch()
    (folder / "words.txt").write_text("no sound")
    assert [one.path.name for one in recordings(folder, notes)] == ["HEARD.AIFF", "heard.m4a", "heard.opus"]
    (said,) = notes.said
    assert "2 .m4a, 1 .opus, 1 .webm" in said
    assert "ffmpeg -i" in said
    for path in folder.glob("[hH]*"):
        path.unlink()
    with pytest.raises(BadCorpus, match=r"contains no audio file .*Left out: 2 \.m4a, 1 \.opus, 1 \.webm, .*convert"):
        recordings(folder, notes)


@pytest.mark.slow
def test_sound_that_cannot_be_meant_is_named_before_anything_is_trained(tiny: Path, speech: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    wave, rate = soundfile.read(speech / "b/c/00.wav")
    for name, samples in (("cancel.wav", np.stack([wave, -wave], 1)), ("whole.wav", wave * 32768)):
        soundfile.write(folder / name, samples, rate, subtype="FLOAT")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    with pytest.raises(BadAudio, match=r"cancel\.wav cancel each other.*2 more of the 3 files.*Nothing was trained"):
        train(tiny, folder, tmp_path / "out.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Tiny", "Whole"])
def test_a_full_disk_ends_it_with_advice_and_it_goes_on_from_there(
    tiny: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from safetensors import SafetensorError, torch as writer

    undisturbed = train(tiny, speech, tmp_path / "whole.safetensors", name)
    out, genuine, count = tmp_path / "out.safetensors", writer.save_file, 0

    def full(*arguments: Any) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        genuine(*arguments)

    monkeypatch.setattr(writer, "save_file", full)
    with pytest.raises(StoreError, match=r"The disk is full.*resumes from here"):
        train(tiny, speech, out, name)
    assert OutputFiles(out).resume.is_file()
    assert same(undisturbed, train(tiny, speech, out, name))


def test_too_little_room_is_said_before_the_first_update(
    tiny: Path, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "superbench.training.pretraining.output.shutil.disk_usage", lambda _: SimpleNamespace(total=10, used=10, free=1000)
    )
    with pytest.raises(StoreError, match="GB free; training writes up to"):
        train(tiny, speech, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.slow
def test_two_processes_do_not_write_one_checkpoint(tiny: Path, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    with OutputFiles(out).alone(), pytest.raises(CommandError, match="Another process is pretraining into"):
        train(tiny, speech, out)
    train(tiny, speech, out)


def test_what_a_killed_process_left_half_written_is_swept_away(tiny: Path, speech: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    left = [
        tmp_path / ".out.csv.a1b2c3d4",
        tmp_path / ".out.safetensors.resume.a1b2c3d4",
        tmp_path / ".out.safetensors.zz_z0000",
    ]
    others = [tmp_path / ".other.safetensors.a1b2c3d4", tmp_path / "out.safetensors.md"]
    for path in left + others:
        path.write_bytes(b"half")
    train(tiny, speech, out, steps=2)
    assert [path.exists() for path in left + others] == [False, False, False, True, True]


def test_a_loss_that_bursts_ends_the_training(tiny: Path, speech: Path, tmp_path: Path) -> None:
    with pytest.raises(BadUpstream, match="The loss became inf at update 1 of 40"):
        train(tiny, speech, tmp_path / "out.safetensors", "Bursting")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("fbank", {}, r"cannot be pretrained; these can: .*apc"),
        ("apc:huge", {}, "expected one of the sizes nano, micro, mini, base"),
        ("apc", {"teacher": "fbank"}, "does not use a teacher"),
        ("apc", {"device": "tpu"}, "expected auto, cpu, cuda"),
        ("apc", {"precision": "int8"}, "expected auto, float32 or bfloat16"),
    ],
)
def test_what_cannot_be_trained_says_what_can(
    speech: Path, tmp_path: Path, name: str, options: dict[str, Any], words: str
) -> None:
    usual: dict[str, Any] = {"steps": 1, "seed": 0, "device": "cpu", "reporter": Silence()}
    with pytest.raises(CommandError, match=words):
        pretrain(name, speech, tmp_path / "out.safetensors", **(usual | options))
