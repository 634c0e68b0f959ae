"""What every check of an upstream shares: the calls of the model, the record of a finding, the check for NaN."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from superbench.contract import SAMPLE_RATE
from superbench.errors import BadUpstream
from superbench.plugins.doctor.alignment import require_features
from superbench.plugins.models import Loaded
from superbench.system.progress import Reporter
from superbench.system.seeding import seeded


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: its name, whether the model passes, and what was measured.

    `fatal`: a model that fails cannot be used. `action`: how extraction takes a failure into account. `value`: the number in
    `measured`, if there is one.
    """

    name: str
    holds: bool
    measured: str
    fatal: bool = True
    action: str = ""
    value: float | None = None


@dataclass(slots=True)
class Examining:
    """An examination in progress: the model, the options of its calls, and the largest feature value so far."""

    upstream: Loaded
    device: str
    seconds: float
    patience: float
    reporter: Reporter
    largest: float = 0.0
    spent: float = 0.0
    sounds: dict[int, Tensor] = field(default_factory=dict)

    def noise(self, samples: int) -> Tensor:
        """Returns noise (samples); the same for the same length."""
        with seeded(20_24, samples):
            return self.sounds.setdefault(samples, torch.randn(samples) * 0.1)

    def states(self, *waves: Tensor) -> list[Tensor]:
        """Returns hidden states (layer, time, dim) of each wave, without the frames of padding."""
        lengths = torch.tensor([len(wave) for wave in waves])
        padded = nn.utils.rnn.pad_sequence(list(waves), batch_first=True)
        try:
            with torch.inference_mode():
                features = self.upstream.model(padded.to(self.device), lengths.to(self.device))
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:  # such as SystemExit, which must not end the program
            raise BadUpstream(f"it raised {type(error).__name__}: {error}") from error
        require_features(features)
        returned, lengths_out = features.frames.shape[2], features.lengths.tolist()
        if max(lengths_out) > returned:
            raise ValueError(f"its lengths contain {max(lengths_out)} frames, but it returns {returned}")
        states = [features.frames[:, i, : int(n)].float().cpu() for i, n in enumerate(lengths_out)]
        largest = [torch.nan_to_num(state, 0.0, 0.0, 0.0).abs().max() for state in states if state.numel()]
        self.largest = max([self.largest, *map(float, largest)])
        return states


def finite(name: str, examining: Examining, states: Tensor) -> Finding:
    """Checks that hidden states (layer, time, dim) are finite; names the first frame that is not."""
    bad = (~torch.isfinite(states)).any(0).any(-1).nonzero()
    if not len(bad):
        return Finding(name, True, f"no NaN in {_length(examining, states.shape[1])}")
    first = int(bad[0])
    seconds = first * examining.upstream.hop / SAMPLE_RATE
    measured = f"NaN or infinity in {len(bad)} frames, from {seconds:.2f} s on (frame {first} of {states.shape[1]})"
    return Finding(name, False, measured, value=seconds)


def _length(examining: Examining, frames: int) -> str:
    """Returns a number of frames, and the seconds that they last at the declared hop."""
    return f"{frames} frames ({frames * examining.upstream.hop / SAMPLE_RATE:.1f} s)"
