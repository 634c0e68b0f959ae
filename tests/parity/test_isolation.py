"""What is lent to the reference is taken back: other tests meet neither stand-ins nor half a hub."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torchaudio

Reference = Callable[[str], Any]


def test_nothing_that_was_lent_stays(reference: Reference) -> None:
    for name in ("downstream.runner", "downstream.speech_commands.expert", "nn.speaker_model"):
        reference(name)
    stand_ins = {"catalyst", "sox", "tensorboardX", "torchaudio.sox_effects", "s3prl.hub"}
    assert {name for name in stand_ins & set(sys.modules) if getattr(sys.modules[name], "__spec__", None) is None} == set()
    assert not hasattr(torchaudio, "set_audio_backend")
