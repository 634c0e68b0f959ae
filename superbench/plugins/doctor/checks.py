"""What the doctor looks for in a model: each check calls it, and says what was seen.

Every call is on sound that the check makes itself, alone or in small batches, so that a whole examination takes seconds; the
one long sound is there because some models break only after a while.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from superbench.contract import SAMPLE_RATE
from superbench.contract.model import LARGEST_HALF, TOLERATED_FRAMES
from superbench.errors import BadUpstream
from superbench.plugins.doctor.measures import difference, weights
from superbench.plugins.models import Loaded
from superbench.system.memory import peak
from superbench.system.progress import Reporter
from superbench.system.seeding import seeded

INVARIANCE = 1e-5
"""Largest relative change of an utterance's features beside others that still counts as none (design: 1e-5)."""
LENGTHS = (4001, 12_000, 16_000, 24_000)
"""Samples of the sounds whose frames are counted: a quarter of a second (and a sample) to one and a half."""
QUICK_SECONDS = 12.0
"""The long sound where a full one would take too long; still long enough for what breaks after ten seconds."""
CHECKS = 14


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what it is called, whether it holds, and what was measured.

    `fatal`: without it the model cannot be used. `action`: what extraction will do about it. `value`: the number in `measured`,
    where there is one.
    """

    name: str
    holds: bool
    measured: str
    fatal: bool = True
    action: str = ""
    value: float | None = None


@dataclass(slots=True)
class Examining:
    """An examination in progress: the model, how to call it, and the largest value that it has given so far."""

    upstream: Loaded
    device: str
    seconds: float
    patience: float
    reporter: Reporter
    largest: float = 0.0
    spent: float = 0.0
    sounds: dict[int, Tensor] = field(default_factory=dict)

    def noise(self, samples: int) -> Tensor:
        """The same for the same length."""
        with seeded(20_24, samples):
            return self.sounds.setdefault(samples, torch.randn(samples) * 0.1)

    def states(self, *waves: Tensor) -> list[Tensor]:
        """Hidden states (layer, time, dim) of each wave, its own frames only."""
        lengths = torch.tensor([len(wave) for wave in waves])
        padded = nn.utils.rnn.pad_sequence(list(waves), batch_first=True)
        try:
            with torch.inference_mode():
                features = self.upstream.model(padded.to(self.device), lengths.to(self.device))
        except (Exception, KeyboardInterrupt):
            raise
        except BaseException as error:  # it asks for the end of the program, which is not its to end
            raise BadUpstream(f"it raised {type(error).__name__}: {error}") from error
        time_, said = features.frames.shape[2], features.lengths.tolist()
        if max(said) > time_:
            raise ValueError(f"its lengths say {max(said)} frames, but it returns {time_}")
        found = [features.frames[:, i, : int(n)].float().cpu() for i, n in enumerate(said)]
        finite = [torch.nan_to_num(one, 0.0, 0.0, 0.0).abs().max() for one in found if one.numel()]
        self.largest = max([self.largest, *(float(one) for one in finite)])
        return found


def findings(examining: Examining) -> Iterator[Finding]:
    """All checks, in an order in which none needs what an earlier one has found to be broken."""
    began = time.perf_counter()
    for done, finding in enumerate(_all(examining), start=1):
        if time.perf_counter() - began > 1:  # most are over before anybody looks
            examining.reporter.advance("examine", done, max(CHECKS, done))
        yield finding


def _all(examining: Examining) -> Iterator[Finding]:
    upstream = examining.upstream
    before = weights(upstream.model)
    short, longer = examining.noise(LENGTHS[1]), examining.noise(LENGTHS[-1])
    try:
        examining.states(short)
        began = time.perf_counter()
        alone = examining.states(longer)
        examining.spent = (time.perf_counter() - began) * SAMPLE_RATE / len(longer)
        first = examining.states(short)[0]
    except Exception as error:
        yield Finding("call", False, f"calling it on 0.75 s of noise raised {type(error).__name__}: {error}")
        return
    fits = _shape(examining, alone[0])
    yield fits
    if not fits.holds:
        return
    calm = _deterministic(examining, first)
    yield calm
    yield _finite("finite", examining, alone[0])
    if calm.holds:  # else every comparison would only find the same again
        yield from _mates(examining, short, longer)
    yield from _extremes(examining)
    long_sound, counted = _long(examining)
    yield _lengths(examining, counted)
    yield from long_sound
    yield _range(examining.largest)
    yield _frozen(examining, before, first if calm.holds else None)


def _shape(examining: Examining, states: Tensor) -> Finding:
    upstream = examining.upstream
    if upstream.model.sample_rate != SAMPLE_RATE:
        said = f"it declares a sample rate of {upstream.model.sample_rate}; every task hands it {SAMPLE_RATE} Hz"
        return Finding("shape", False, f"{said}. Resample inside the model, and declare {SAMPLE_RATE}")
    declared = f"{upstream.layers} layers of {upstream.dim}, hop {upstream.hop}"
    shape = tuple(states.shape)
    fits = states.dim() == 3 and shape[0] == upstream.layers and shape[2] == upstream.dim
    return Finding("shape", fits, f"(layer, time, dim) = {shape} for 1.5 s; declared {declared}")


def _lengths(examining: Examining, counted: Mapping[int, int]) -> Finding:
    """Frame t begins at sample t * hop, so a sound of n samples has at most ceil(n / hop) of them."""
    hop = examining.upstream.hop
    heard = {n: examining.states(examining.noise(n))[0] for n in LENGTHS}
    counts = {n: states.shape[1] for n, states in heard.items()} | dict(counted)
    if faults := [fault for n, count in counts.items() if (fault := _miscounted(n, count, hop))]:
        return Finding("length", False, f"{faults[0]}. Correct `hop`, or the `lengths` that it returns")
    if copied := [n for n, states in heard.items() if _ends_in_padding(states)]:
        said = f"of the {counts[copied[0]]} frames for {copied[0]} samples of noise, the last is empty or a copy"
        return Finding("length", False, f"1 frame too many: {said}. Leave padding out of the `lengths` that it returns")
    said = ", ".join(f"{count} for {samples}" for samples, count in counts.items())
    least, most = SAMPLE_RATE, max(n for n in counts if n % SAMPLE_RATE == 0)
    stride = (most - least) / (counts[most] - counts[least]) if most > least else math.nan
    return Finding("length", True, f"frames of samples: {said}; stride {stride:.1f}, declared {hop}", value=stride)


def _miscounted(samples: int, count: int, hop: int) -> str:
    more = count - math.ceil(samples / hop)
    if more > 0:
        frames = "1 frame" if more == 1 else f"{more} frames"
        begins = f"frame {count - 1} would begin at sample {(count - 1) * hop}, after the end"
        return f"{frames} too many: {count} for {samples} samples, but at a hop of {hop} {begins}"
    expected = round(samples / hop)
    few = expected - count >= TOLERATED_FRAMES
    return f"too few frames: {count} for {samples} samples, where a hop of {hop} gives {expected}" if few else ""


def _ends_in_padding(states: Tensor) -> bool:
    """Noise never gives the same frame twice, nor nothing, in every layer."""
    return states.shape[1] > 2 and bool((states[:, -1] == states[:, -2]).all() or not states[:, -1].any())


def _range(largest: float) -> Finding:
    said = f"largest value {largest:.4g}; half precision ends at {LARGEST_HALF:.0f}"
    action = "frames will be stored in single precision"
    return Finding("range", largest <= LARGEST_HALF, said, fatal=False, action=action, value=largest)


def _deterministic(examining: Examining, first: Tensor) -> Finding:
    again = difference(first, examining.states(examining.noise(LENGTHS[1]))[0])
    model = examining.upstream.model
    awake = [name or "the model" for name, one in model.named_modules() if one.training] if isinstance(model, nn.Module) else []
    if again == 0.0 and not awake:
        return Finding("deterministic", True, "the same sound twice gives the same features; no part is in training mode")
    said = f"the same sound twice differs by {again:.1e}; " if again else ""
    why = f"{len(awake)} parts are in training mode, such as {awake[0]}" if awake else "no part is in training mode"
    cure = "Let dropout and the like follow `self.training`, and leave `eval` alone"
    return Finding("deterministic", False, f"{said}{why}. {cure}", value=again)


def _finite(name: str, examining: Examining, states: Tensor) -> Finding:
    bad = (~torch.isfinite(states)).any(0).any(-1).nonzero()
    if not len(bad):
        return Finding(name, True, f"no NaN in {states.shape[1]} frames")
    first = int(bad[0])
    at = first * examining.upstream.hop / SAMPLE_RATE
    return Finding(
        name, False, f"NaN or infinity from {at:.2f} s on (frame {first} of {states.shape[1]}), in {len(bad)} frames", value=at
    )


def _mates(examining: Examining, short: Tensor, longer: Tensor) -> Iterator[Finding]:
    alone = examining.states(short)[0]
    beside = max(difference(alone, examining.states(short, longer)[0]), difference(alone, examining.states(longer, short)[1]))
    equal = difference(alone, examining.states(short, longer[: len(short)])[0])
    both = len(alone[0]), len(examining.states(short, longer)[0][0])
    said = f"it has {both[0]} frames alone and {both[1]} beside a longer sound" if both[0] != both[1] else ""
    yield Finding(
        "batch mates", beside <= INVARIANCE, said or f"beside a longer sound the features change by {beside:.1e}", fatal=False,
        action="only sounds of equal length will pass together" if equal <= INVARIANCE else "", value=beside,
    )  # fmt: skip
    yield Finding(
        "equal mates", equal <= INVARIANCE, f"beside a sound of its own length they change by {equal:.1e}", fatal=False,
        action="sounds will pass one at a time", value=equal,
    )  # fmt: skip


def _extremes(examining: Examining) -> Iterator[Finding]:
    cases = {
        "silence": torch.zeros(SAMPLE_RATE),
        "clipping": torch.sign(torch.sin(torch.arange(8000) * 0.2)),
        "one sample": torch.ones(1),
    }
    for name, wave in cases.items():
        fatal = name != "one sample"
        action = "" if fatal else "a sound that short would stop the job"
        try:
            states = examining.states(wave)[0]
        except Exception as error:
            yield Finding(
                name=name, holds=False, measured=f"raised {type(error).__name__}: {error}", fatal=fatal, action=action
            )
            continue
        fine = bool(torch.isfinite(states).all()) and states.shape[1] >= 1
        finite = "finite" if fine or not states.numel() else "NaN or infinite"
        said = f"{states.shape[1]} frame{'s' if states.shape[1] != 1 else ''}, {finite}"
        yield Finding(name=name, holds=fine, measured=said, fatal=fatal, action=action)


def _long(examining: Examining) -> tuple[list[Finding], dict[int, int]]:
    """What a long sound shows, and how many frames it has."""
    expected = examining.spent * examining.seconds
    seconds = examining.seconds if expected <= examining.patience else min(QUICK_SECONDS, examining.seconds)
    if expected > 5 and seconds == examining.seconds:
        examining.reporter.note(f"{seconds:.0f} s of sound pass through it now, which takes about {expected:.0f} s")
    wave = examining.noise(round(seconds * SAMPLE_RATE))
    try:
        began = time.perf_counter()
        with peak(examining.device) as bytes_:
            states = examining.states(wave)[0]
        spent = (time.perf_counter() - began) / seconds
    except Exception as error:
        cure = "Long sound can pass in parts: --chunk 30" if isinstance(error, MemoryError | torch.OutOfMemoryError) else ""
        return [Finding("long sound", False, f"{seconds:.0f} s of sound raised {type(error).__name__}: {error}. {cure}")], {}
    finite = _finite("long sound", examining, states)
    said = f"{seconds:.0f} s: {finite.measured}"
    if seconds < examining.seconds:
        said += f"; {examining.seconds:.0f} s would have taken about {expected:.0f} s, so what comes later is not known"
    memory, each = bytes_["peak"] / 2**20, bytes_["peak"] / 2**20 / seconds
    return [
        Finding("long sound", finite.holds, said, value=finite.value),
        Finding("memory", True, f"{memory:.0f} MiB at the peak, {each:.1f} MiB per second of sound", fatal=False, value=each),
        Finding("speed", True, f"{spent:.4f} s per second of sound", fatal=False, value=spent),
    ], {len(wave): states.shape[1]}


def _frozen(examining: Examining, before: Mapping[str, str], first: Tensor | None) -> Finding:
    after = weights(examining.upstream.model)
    moved = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if moved:
        said = f"{len(moved)} of {len(before)} weights and buffers changed while it was called, such as {moved[0]}"
        return Finding("frozen", False, f"{said}. A benchmarked model must not learn; update nothing in `forward`")
    drift = 0.0 if first is None else difference(first, examining.states(examining.noise(LENGTHS[1]))[0])
    if drift:
        return Finding(
            "frozen", False, f"a sound's features differ by {drift:.1e} from those at the beginning: it remembers calls"
        )
    also = "" if first is None else ", and so is the first sound"
    return Finding("frozen", True, f"{len(before)} weights and buffers are as before{also}")
