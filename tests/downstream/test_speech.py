"""The synthesiser: repeatable, with times of words, and with the properties that a line gives."""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from downstream.shared import speech
from downstream.shared.speech import Line, Spoken, activity, background, speak, voice
from superbench import SAMPLE_RATE, MissingExtra

pytest.importorskip("espeakng_loader")

TEXTS = ("yes", "the teacher found a wooden box, near the station", "seven small coins", "stop the music", "a cold evening")


def lines(folder: Path) -> list[Line]:
    return [Line(folder / f"{number}.wav", text, voice(0, number % 3), seed=number) for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> list[Spoken]:
    return speak(lines(tmp_path_factory.mktemp("speech")), workers=1)


@pytest.mark.slow
def test_a_line_sounds_the_same_in_any_order_and_with_any_number_of_workers(spoken: list[Spoken], tmp_path: Path) -> None:
    repeated = speak(lines(tmp_path)[::-1], workers=2)[::-1]
    assert [utterance.path.read_bytes() for utterance in repeated] == [utterance.path.read_bytes() for utterance in spoken]
    assert [replace(utterance, path=Path()) for utterance in repeated] == [
        replace(utterance, path=Path()) for utterance in spoken
    ]


def test_an_interrupt_while_processes_start_waits_until_they_have_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began: list[float] = []

    class Pool(ProcessPoolExecutor):
        def map(self, *arguments: Any, **options: Any) -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
            began.append(time.monotonic())
            return iter(())

    monkeypatch.setattr(speech, "ProcessPoolExecutor", Pool)
    with pytest.raises(KeyboardInterrupt):
        speak(lines(tmp_path))
    assert len(began) == 1


@pytest.mark.slow
def test_answers_come_in_the_order_of_the_lines(spoken: list[Spoken]) -> None:
    assert [utterance.path.stem for utterance in spoken] == ["0", "1", "2", "3", "4"]
    assert [utterance.words[0].label for utterance in spoken] == ["yes", "the", "seven", "stop", "a"]


@pytest.mark.slow
def test_words_and_phones_lie_inside_the_file_in_order(spoken: list[Spoken]) -> None:
    for utterance in spoken:
        assert utterance.samples == soundfile.info(str(utterance.path)).frames
        starts = [phone.start for phone in utterance.phones]
        assert starts == sorted(starts)
        assert utterance.phones[0].start >= 0
        assert utterance.phones[-1].end <= utterance.samples / SAMPLE_RATE
        assert utterance.words[-1].end == utterance.phones[-1].end
        assert all(phone.end > phone.start for phone in utterance.phones)
    assert " ".join(word.label for word in spoken[1].words) == TEXTS[1].replace(",", "")


@pytest.mark.slow
def test_time_marks_enclose_the_sound(tmp_path: Path) -> None:
    line = Line(tmp_path / "one.wav", "seven", voice(0, 1), seed=3, seconds=3.0, snr=(40.0, 40.0))
    (utterance,) = speak([line], workers=1)
    wave, rate = soundfile.read(utterance.path)
    ((start, end),) = activity(utterance)
    inside = wave[int(start * rate) : int(end * rate)]
    outside = np.concatenate([wave[: int(start * rate) - 200], wave[int(end * rate) + 200 :]])
    assert len(wave) == 3 * SAMPLE_RATE
    assert inside.std() > 20 * outside.std()


@pytest.mark.slow
def test_length_rate_format_and_peak_are_as_requested(tmp_path: Path) -> None:
    cut = Line(tmp_path / "cut.flac", TEXTS[1], voice(0, 2), seed=1, seconds=0.5, sample_rate=8_000, peak=0.5)
    (utterance,) = speak([cut], workers=1)
    wave, rate = soundfile.read(utterance.path)
    assert (len(wave), rate) == (4_000, 8_000)
    assert soundfile.info(str(utterance.path)).format == "FLAC"
    assert np.abs(wave).max() == pytest.approx(0.5, abs=0.05)
    assert utterance.phones[-1].end <= 0.5


@pytest.mark.slow
def test_faster_lines_are_shorter_and_louder_lines_louder(tmp_path: Path) -> None:
    line = Line(tmp_path / "slow.wav", TEXTS[2], voice(0, 1), seed=5)
    slow, fast = speak([replace(line, speed=0.8), replace(line, path=tmp_path / "fast.wav", speed=1.3, volume=2.0)], workers=1)
    assert fast.samples < 0.8 * slow.samples
    assert soundfile.read(fast.path)[0].std() > 1.4 * soundfile.read(slow.path)[0].std()


def test_voices_depend_on_seed_and_number_alone() -> None:
    assert voice(1, 7) == voice(1, 7)
    assert len({voice(1, 7), voice(1, 8), voice(2, 7)}) == 3
    assert all(voice(0, number, female=True).fundamental > voice(0, number, female=False).fundamental for number in range(20))


def test_background_repeats_and_has_its_length() -> None:
    assert background(0.5, 3).shape == (8_000,)
    assert np.array_equal(background(0.5, 3), background(0.5, 3))
    assert not np.array_equal(background(0.5, 3), background(0.5, 4))


def test_a_missing_package_is_an_error_that_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingExtra, match=r"speech-superbench\[demo\]"):
        speak(lines(tmp_path))
