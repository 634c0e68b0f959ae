"""Speech GPT: a causal Transformer over discrete units of sound that predicts the next unit, and can continue a recording.

Lakhotia et al. (2021), "On generative spoken language modeling from raw audio", arXiv 2102.01192: k-means units of log-mel
frames and a language model over them; layers as in GPT-2 (Radford et al. 2019: normalised before each part, once at the end).
Frames of 20 ms (two of 10 ms) are scaled by the mean and spread of the sound that the model was pretrained on, so that a frame
depends on nothing that comes after it; each becomes the nearest of the centroids that k-means found before training. A
sentence begins with BOS. Hidden states: the units' embeddings, then each layer's output, the last one normalised.
`base` has the size of GPT-2 small (12 layers of 768; 85.8 M weights with 500 units); `mini` is for the miniature corpora,
`micro` and `nano` have about a quarter and a sixteenth of its weights. `superbench generate` turns the units that
follow a prompt back into sound: centroids → mel spectrum → phases by Griffin & Lim (1984).
In context (`--protocol in-context`), the units of all parts of a prompt follow each other, without anything between them.
With `superbench pretrain speech_gpt --echo`, the training sequences are echo episodes (see `upstream.shared.echo`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torchaudio
from torch import Tensor, nn

from superbench import SAMPLE_RATE, CommandError, Features, Likelihood, Parts, Pretraining, Upstream
from upstream.shared.echo import episodes, pieces
from upstream.shared.mel import FLOOR, SHIFT, WINDOW, MelPower
from upstream.shared.remembered import Memory, advanced, repeated
from upstream.shared.transformer import positions
from upstream.shared.units import Units
from upstream.shared.views import gained, mixed, resized

REMEMBERED = 200_000
"""Positions of all continuations that are computed at once, their prompt included: bounds the memory."""


@dataclass(frozen=True)
class SpeechGptConfig:
    """Sizes; `units` is the size of the vocabulary without BOS, found in `fit_seconds` of sound."""

    bins: int = 80
    stack: int = 2
    units: int = 500
    width: int = 768
    layers: int = 12
    heads: int = 12
    feedforward: int = 3072
    dropout: float = 0.1
    fit_seconds: float = 3600.0


class SpeechGpt(nn.Module):
    """Hidden states (layers + 1, batch, time, width); the state of a frame depends on that frame and those before it."""

    mean: Tensor
    spread: Tensor

    reads_text = False
    configs: ClassVar = {
        "nano": SpeechGptConfig(units=200, width=48, layers=3, heads=4, feedforward=192, dropout=0.0, fit_seconds=600.0),
        "micro": SpeechGptConfig(units=200, width=96, layers=3, heads=4, feedforward=384, dropout=0.0, fit_seconds=600.0),
        "mini": SpeechGptConfig(units=200, width=192, layers=3, heads=4, feedforward=768, dropout=0.0, fit_seconds=600.0),
        "base": SpeechGptConfig(),
    }
    pretraining: ClassVar = {
        **dict.fromkeys(("nano", "micro", "mini"), Pretraining(steps=500, batch=8, seconds=2.0, learning_rate=2e-3)),
        "base": Pretraining(steps=250_000, batch=32, seconds=15.0, learning_rate=5e-4),
    }

    def __init__(self, config: SpeechGptConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.hop, self.layers, self.dim = SAMPLE_RATE, SHIFT * config.stack, config.layers + 1, config.width
        self.prepare_seconds = config.fit_seconds
        self.least = WINDOW + SHIFT * (config.stack - 1)
        self.mel = MelPower(config.bins)
        self.units = Units(config.units, config.bins * config.stack)
        self.register_buffer(
            "mean", torch.full((config.bins,), -6.0)
        )  # typical values of speech, until `prepare` measures them
        self.register_buffer("spread", torch.full((config.bins,), 4.0))
        self.embed = nn.Embedding(config.units + 1, config.width)  # the last one is BOS
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                config.width, config.heads, config.feedforward, config.dropout, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.predict = nn.Linear(config.width, config.units)

    def forward(self, waves: Tensor, lengths: Tensor) -> Features:
        """Returns the hidden states of a batch; layers are causal, so padding at the end changes nothing."""
        units, frames = self.heard(waves, lengths)
        states = torch.stack(self.states(units))[:, :, 1:]  # without BOS
        inside = torch.arange(units.shape[1], device=units.device) < frames[:, None]
        return Features(states * inside[..., None], frames)

    def loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Computes the cross-entropy of each unit given the units before it, in nats: the logarithm of the perplexity."""
        return self._cross_entropy(*self.heard(waves, lengths))

    def echo_loss(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Computes the cross-entropy of the units of echo episodes, made of pieces of the batch."""
        waves, lengths = pieces(waves, lengths)
        sounds, frames = self.heard(waves, lengths)
        return self._cross_entropy(*episodes(sounds, self.another_view(waves, lengths, frames), frames))

    def another_view(self, waves: Tensor, lengths: Tensor, frames: Tensor) -> Tensor:
        """Returns the units of another view of each sound (batch, time): other level, background, tempo and pitch."""
        waves = mixed(gained(waves, decibels=6.0), lengths, loud=10.0, quiet=25.0)
        spectrum = (self._spectrum(waves) - self.mean) / self.spread
        spectrum = resized(spectrum, frames * self.config.stack, time=(0.8, 1.1), bands=(0.85, 1.15))
        return self.units(self._pairs(spectrum))

    def _cross_entropy(self, units: Tensor, frames: Tensor) -> Tensor:
        """Returns the mean over the units (batch, time) of which the first `frames` of each row count."""
        logits = self.predict(self.states(units[:, :-1])[-1])
        inside = torch.arange(units.shape[1], device=units.device) < frames[:, None]
        return nn.functional.cross_entropy(logits[inside], units[inside])

    def prepare(self, waves: Sequence[Tensor], seed: int, teacher: Upstream | None) -> None:
        """Measures mean and spread of the spectrum and finds the units."""
        if teacher is not None:
            raise CommandError("speech_gpt finds its units in the sound and uses no teacher; leave out --teacher.")
        spectra = [self._spectrum(wave[None]) for wave in waves]  # each (1, time, bins)
        everything = torch.cat(spectra, dim=1)[0]
        self.mean.copy_(everything.mean(0))
        self.spread.copy_(everything.std(0).clamp(min=1e-3))
        self.units.fit((self._stacked(spectrum)[0] for spectrum in spectra), seed)

    def heard(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the units of each sound (batch, time), and their numbers."""
        frames = ((lengths.clamp(min=self.least) - WINDOW) // SHIFT + 1) // self.config.stack
        return self.units(self._stacked(self._spectrum(waves)))[:, : int(frames.max())], frames

    def states(self, units: Tensor) -> list[Tensor]:
        """Returns the states of BOS and of each unit of (batch, time): each (batch, time + 1, width)."""
        tokens = nn.functional.pad(units, (1, 0), value=self.config.units)
        x = self.embed(tokens) + positions(tokens.shape[1], self.config.width, tokens.device)
        future = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], device=tokens.device)
        states = [self.dropout(x)]
        for block in self.blocks:
            states.append(block(states[-1], src_mask=future, is_causal=True))
        states[-1] = self.norm(states[-1])
        return states

    @torch.no_grad()
    def generate(
        self, prompt: Tensor, seconds: float, temperature: float, advance: Callable[[int, int], None]
    ) -> tuple[Tensor, dict[str, float]]:
        """Returns the prompt (samples,) continued by `seconds` of sound, units drawn at `temperature`, and measurements."""
        wave, length = prompt[None], torch.tensor([len(prompt)], device=prompt.device)
        units, _ = self.heard(wave, length)
        prompted = units.shape[1]
        facts = {"units of the prompt": float(prompted), "their perplexity": float(self.loss(wave, length).exp())}
        count = max(round(seconds * SAMPLE_RATE / self.hop), 1)
        logits, memory = self.advance(nn.functional.pad(units, (1, 0), value=self.config.units))
        for done in range(count):
            drawn = torch.multinomial((logits[:, -1] / temperature).softmax(-1), 1)
            units = torch.cat([units, drawn], dim=1)
            if done + 1 < count:
                logits, memory = self.advance(drawn, memory)
            advance(done + 1, count)
        facts["different units drawn"] = len(units[0, prompted:].unique())
        # the last unit of the prompt is synthesised too, and the prompt is cross-faded into it
        spoken = self.spoken(units[0, prompted - 1 :])
        fade = torch.linspace(0, 1, self.hop, device=prompt.device)
        before = nn.functional.pad(prompt, (max(self.hop - len(prompt), 0), 0))
        seam = before[-self.hop :] * (1 - fade) + spoken[: self.hop] * fade
        return torch.cat([before[: -self.hop], seam, spoken[self.hop :]]), facts

    def advance(self, tokens: Tensor, memory: Memory = ()) -> tuple[Tensor, Memory]:
        """Returns the logits (batch, time, units) after each of `tokens` (batch, time), which follow those of the memory, and
        the longer memory. The first token of all is BOS."""
        before = memory[0][0].shape[2] if memory else 0
        x = self.embed(tokens) + positions(before + tokens.shape[1], self.config.width, tokens.device)[before:]
        states, memory = advanced(self.blocks, x, memory)
        return self.predict(self.norm(states)), memory

    @torch.no_grad()
    def log_likelihood(self, prompts: Sequence[Parts], continuations: Sequence[Sequence[Parts]]) -> list[list[Likelihood]]:
        """Returns how likely each of `continuations[i]` is after `prompts[i]`; all are sounds. What all prompts begin with is
        computed once, each prompt once."""
        known: dict[int, Tensor] = {}
        begun = [nn.functional.pad(self._joined(prompt, known), (1, 0), value=self.config.units) for prompt in prompts]
        shared = common_beginning(begun)
        _, memory = self.advance(begun[0][None, :shared]) if shared else (None, ())
        found = []
        for tokens, following in zip(begun, continuations, strict=True):
            logits, longer = self.advance(tokens[None, shared:], memory)
            units = [self._joined(parts, known) for parts in following]
            rows = max(REMEMBERED // (len(tokens) + max(map(len, units))), 1)
            parts = [units[at : at + rows] for at in range(0, len(units), rows)]
            found.append([one for part in parts for one in self._continued(logits[:, -1:], longer, part)])
        return found

    def _continued(self, first: Tensor, memory: Memory, units: Sequence[Tensor]) -> list[Likelihood]:
        """Returns the likelihood of each row of units; `first` (1, 1, units) are the logits after the prompt."""
        padded = nn.utils.rnn.pad_sequence(list(units), batch_first=True)
        logits = first.expand(len(units), -1, -1)
        if padded.shape[1] > 1:
            logits = torch.cat([logits, self.advance(padded[:, :-1], repeated(memory, len(units)))[0]], 1)
        chosen = logits.log_softmax(-1).gather(2, padded[..., None])[..., 0]
        return [Likelihood(float(row[: len(own)].sum()), len(own), len(own)) for row, own in zip(chosen, units, strict=True)]

    def _joined(self, parts: Parts, known: dict[int, Tensor]) -> Tensor:
        """Returns the units (time,) of all sounds of `parts`, one after the other; `known` holds those of sounds met before."""
        for part in parts:
            if isinstance(part, str):
                raise CommandError(f"speech_gpt reads no text, found {part[:40]!r} in a prompt. Give it sounds.")
            if id(part) not in known:
                known[id(part)] = self.heard(part[None], torch.tensor([len(part)], device=part.device))[0][0]
        nothing = torch.empty(0, dtype=torch.long, device=self.mean.device)
        return torch.cat([nothing, *(known[id(part)] for part in parts)])

    def spoken(self, units: Tensor) -> Tensor:
        """Synthesises units (time,) to sound (time · hop,). Spectra are the centroids; phases are found by Griffin-Lim."""
        spectrum = self.units.centroids[units].unflatten(1, (-1, self.config.bins)).flatten(0, 1)  # (time · stack, bins)
        power = ((spectrum * self.spread + self.mean).exp() - FLOOR).clamp(min=0).T
        bands = torchaudio.transforms.InverseMelScale(WINDOW // 2 + 1, self.config.bins, SAMPLE_RATE, driver="gelsd")
        phases = torchaudio.transforms.GriffinLim(WINDOW, n_iter=60, hop_length=SHIFT)
        wave = phases.to(units.device)(bands(power.cpu()).to(units.device))  # this LAPACK driver exists only on the CPU
        return nn.functional.pad(wave, (0, max(len(units) * self.hop - len(wave), 0)))[: len(units) * self.hop]

    def _spectrum(self, waves: Tensor) -> Tensor:
        """Returns the log-mel spectrum, (batch, time, bins)."""
        waves = nn.functional.pad(waves, (0, max(self.least - waves.shape[1], 0)))
        with torch.autocast(waves.device.type, enabled=False):  # half precision is too coarse for quiet bands
            return (self.mel(waves) + FLOOR).log().transpose(1, 2)

    def _stacked(self, spectrum: Tensor) -> Tensor:
        """Scales the spectrum and stacks neighbouring frames: (batch, time, bins · stack)."""
        return self._pairs((spectrum - self.mean) / self.spread)

    def _pairs(self, spectrum: Tensor) -> Tensor:
        """Stacks neighbouring frames: (batch, time, bins · stack)."""
        frames = spectrum.shape[1] // self.config.stack * self.config.stack
        return spectrum[:, :frames].reshape(len(spectrum), -1, self.config.bins * self.config.stack)


def common_beginning(rows: Sequence[Tensor]) -> int:
    """Returns the number of leading values that all rows have in common, at most all but the last of the shortest."""
    most = min(map(len, rows)) - 1
    same = torch.stack([(row[:most] == rows[0][:most]) for row in rows]).all(0)
    return int(same.long().cumprod(0).sum())
