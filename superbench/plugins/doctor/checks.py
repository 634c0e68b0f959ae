"""Contract checks for upstreams: each check calls the model and returns what it measured.

The sounds are generated, and are passed alone or in small batches, so that a complete examination takes seconds. One sound is
long, because some models fail only on long sound.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from superbench.contract import SAMPLE_RATE
from superbench.contract.model import LARGEST_HALF, TOLERATED_FRAMES
from superbench.plugins.doctor.alignment import BadOutput, alignment, how_to_count
from superbench.plugins.doctor.examining import Examining, Finding, finite
from superbench.plugins.doctor.long_sound import long_sound
from superbench.plugins.doctor.measures import difference, weights
from superbench.plugins.resampling import Resampled

INVARIANCE = 1e-5
"""Largest relative change of an utterance's features in a batch with others that counts as equal (design: 1e-5)."""
LENGTHS = (4001, 12_000, 16_000, 24_000)
"""Samples of the sounds whose frames are counted: from a quarter of a second (and one sample) to one and a half seconds."""
CHECKS = 15


def findings(examining: Examining) -> Iterator[Finding]:
    """Yields the results of all checks; a check is left out if it depends on one that failed."""
    began = time.perf_counter()
    for done, finding in enumerate(_all(examining), start=1):
        if time.perf_counter() - began > 1:  # most examinations are shorter, and show no progress
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
        said = str(error) if isinstance(error, BadOutput) else f"raised {type(error).__name__}: {error}"
        yield Finding("call", False, f"calling it on 0.75 s of noise {said}")
        return
    shape = _shape(examining, alone[0])
    yield shape
    if not shape.holds:
        return
    deterministic = _deterministic(examining, first)
    yield deterministic
    yield finite("finite", examining, alone[0])
    if deterministic.holds:  # otherwise every comparison would fail for this reason
        yield from _batch_invariance(examining, short, longer)
        if finite("finite", examining, alone[0]).holds:
            yield Finding(**alignment(lambda wave: examining.states(wave)[0], alone[0], longer, upstream.hop))
    yield from _extremes(examining)
    of_long, counted = long_sound(examining)
    yield _lengths(examining, counted)
    yield from of_long
    yield _range(examining.largest)
    yield _frozen(examining, before, first if deterministic.holds else None)


def _shape(examining: Examining, states: Tensor) -> Finding:
    upstream = examining.upstream
    if upstream.model.sample_rate != SAMPLE_RATE:
        rate = f"it declares a sample rate of {upstream.model.sample_rate} Hz; the sound of every task has {SAMPLE_RATE} Hz"
        return Finding("shape", False, f"{rate}. Resample inside the model, and declare {SAMPLE_RATE}")
    declared = f"{upstream.layers} layers of {upstream.dim}, hop {upstream.hop}"
    if isinstance(upstream.model, Resampled):
        declared += f" at 16 kHz ({upstream.model.inner_hop} at {upstream.model.rate} Hz, to which sound is resampled)"
    shape = tuple(states.shape)
    fits = states.dim() == 3 and shape[0] == upstream.layers and shape[2] == upstream.dim
    return Finding("shape", fits, f"(layer, time, dim) = {shape} for 1.5 s; declared {declared}")


def _lengths(examining: Examining, counted: Mapping[int, int]) -> Finding:
    """Checks the number of frames: frame t begins at sample t * hop, so n samples have at most ceil(n / hop) frames."""
    hop = examining.upstream.hop
    by_samples = {n: examining.states(examining.noise(n))[0] for n in LENGTHS}
    counts = {n: states.shape[1] for n, states in by_samples.items()} | dict(counted)
    if faults := [fault for n, count in counts.items() if (fault := _miscounted(n, count, hop))]:
        wave = examining.noise(LENGTHS[-1])
        advice = how_to_count(lambda sound: examining.states(sound)[0], by_samples[LENGTHS[-1]], wave)
        return Finding("length", False, f"{faults[0]}. {advice}")
    if copied := [n for n, states in by_samples.items() if _ends_in_padding(states)]:
        last = f"of the {counts[copied[0]]} frames for {copied[0]} samples of noise, the last is empty or a copy"
        return Finding("length", False, f"1 frame too many: {last}. Leave padding out of the `lengths` that it returns")
    table = ", ".join(f"{count} for {samples}" for samples, count in counts.items())
    least, most = SAMPLE_RATE, max(n for n in counts if n % SAMPLE_RATE == 0)
    stride = (most - least) / (counts[most] - counts[least]) if most > least else math.nan
    return Finding("length", True, f"frames by samples: {table}; stride {stride:.1f}, declared {hop}", value=stride)


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
    """Returns whether the last frame is zero or a copy in every layer; noise gives no such frames."""
    return states.shape[1] > 2 and bool((states[:, -1] == states[:, -2]).all() or not states[:, -1].any())


def _range(largest: float) -> Finding:
    measured = f"largest value {largest:.4g}; the limit of half precision is {LARGEST_HALF:.0f}"
    action = "frames will be stored in single precision"
    return Finding("range", largest <= LARGEST_HALF, measured, fatal=False, action=action, value=largest)


def _deterministic(examining: Examining, first: Tensor) -> Finding:
    change = difference(first, examining.states(examining.noise(LENGTHS[1]))[0])
    model = examining.upstream.model
    modules = model.named_modules() if isinstance(model, nn.Module) else ()
    training = [name or "the model" for name, module in modules if module.training]
    if change == 0.0 and not training:
        return Finding("deterministic", True, "the same sound twice gives the same features; no module is in training mode")
    changed = f"for the same sound twice, the features differ by {change:.1e}; " if change else ""
    count = "1 module is" if len(training) == 1 else f"{len(training)} modules are"
    mode = f"{count} in training mode, such as {training[0]}" if training else "no module is in training mode"
    advice = "Apply dropout only if `self.training` is true, and do not override `eval`"
    return Finding("deterministic", False, f"{changed}{mode}. {advice}", value=change)


def _batch_invariance(examining: Examining, short: Tensor, longer: Tensor) -> Iterator[Finding]:
    """Checks that features do not depend on the other sounds in a batch: first a longer one, then one of equal length."""
    alone = examining.states(short)[0]
    padded = examining.states(short, longer)[0]
    change = max(difference(alone, padded), difference(alone, examining.states(longer, short)[1]))
    equal = difference(alone, examining.states(short, longer[: len(short)])[0])
    frames = len(alone[0]), len(padded[0])
    counts = (
        f"a sound has {frames[0]} frames alone and {frames[1]} in a batch with a longer one" if frames[0] != frames[1] else ""
    )
    yield Finding(
        "batch mates", change <= INVARIANCE, counts or f"in a batch with a longer sound the features change by {change:.1e}",
        fatal=False, action="only sounds of equal length will share a batch" if equal <= INVARIANCE else "", value=change,
    )  # fmt: skip
    yield Finding(
        "equal mates", equal <= INVARIANCE, f"in a batch with a sound of equal length they change by {equal:.1e}", fatal=False,
        action="each sound will be a batch of its own", value=equal,
    )  # fmt: skip


def _extremes(examining: Examining) -> Iterator[Finding]:
    cases = {
        "silence": torch.zeros(SAMPLE_RATE),
        "clipping": torch.sign(torch.sin(torch.arange(8000) * 0.2)),
        "one sample": torch.ones(1),
    }
    for name, wave in cases.items():
        fatal = name != "one sample"
        action = "" if fatal else "the job will fail if the corpus contains a sound that short"
        try:
            states = examining.states(wave)[0]
        except Exception as error:
            yield Finding(
                name=name, holds=False, measured=f"raised {type(error).__name__}: {error}", fatal=fatal, action=action
            )
            continue
        holds = bool(torch.isfinite(states).all()) and states.shape[1] >= 1
        finite = "finite" if holds or not states.numel() else "NaN or infinite"
        frames = f"{states.shape[1]} frame{'s' if states.shape[1] != 1 else ''}, {finite}"
        yield Finding(name=name, holds=holds, measured=frames, fatal=fatal, action=action)


def _frozen(examining: Examining, before: Mapping[str, str], first: Tensor | None) -> Finding:
    after = weights(examining.upstream.model)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if changed:
        measured = f"{len(changed)} of {len(before)} weights and buffers changed during the calls, such as {changed[0]}"
        return Finding("frozen", False, f"{measured}. A benchmarked model must be frozen. Update nothing in `forward`")
    drift = 0.0 if first is None else difference(first, examining.states(examining.noise(LENGTHS[1]))[0])
    if drift:
        measured = f"the features of a sound differ by {drift:.1e} from those of the first call: they depend on earlier calls"
        return Finding("frozen", False, measured)
    also = "" if first is None else ", and so are the features of the first sound"
    return Finding("frozen", True, f"{len(before)} weights and buffers are unchanged{also}")
