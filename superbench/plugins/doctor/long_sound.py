"""The check of one long sound: some models fail, or run out of memory, only on long sound."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from superbench.contract import SAMPLE_RATE
from superbench.plugins.doctor.examining import Examining, Finding, finite
from superbench.system.memory import is_out_of_memory, peak

QUICK_SECONDS = 12.0
"""Length of the long sound if the full length would take too long; some models fail after ten seconds."""
SHORTEST = 1.0
"""Seconds of the shortest sound that is tried if longer sound does not fit into memory; also the shortest chunk."""


def long_sound(examining: Examining) -> tuple[list[Finding], dict[int, int]]:
    """Passes one long sound through the model; returns findings, and the number of frames by the number of samples.

    If it does not fit into memory, it is halved: extraction names a sound that does not fit, so the model can be used.
    """
    expected = examining.spent * examining.seconds
    seconds = examining.seconds if expected <= examining.patience else min(QUICK_SECONDS, examining.seconds)
    if expected > 5 and seconds == examining.seconds:
        examining.reporter.note(f"calling the model on {seconds:.0f} s of sound takes about {expected:.0f} s")
    too_long = ""
    for tried in _halved(seconds):
        try:
            found, counted = _passed(examining, tried)
        except Exception as error:
            said = f"{tried:g} s of sound raised {type(error).__name__}: {error}"
            if not is_out_of_memory(error):
                return [Finding("long sound", False, said)], {}
            too_long = too_long or f"{tried:g} s of sound do not fit into memory"
            continue
        if seconds < examining.seconds:
            late = f"{examining.seconds:.0f} s would have taken about {expected:.0f} s, so longer sound was not checked"
            found[0] = replace(found[0], measured=f"{found[0].measured}; {late}")
        return [*([_not_fitting(too_long, tried)] if too_long else []), *found], counted
    return [_not_fitting(too_long, SHORTEST)], {}


def _halved(seconds: float) -> Iterator[float]:
    """Yields a length and its halves, down to `SHORTEST`."""
    while seconds >= SHORTEST:
        yield seconds
        seconds /= 2


def _not_fitting(too_long: str, fitting: float) -> Finding:
    advice = f"longer sound ends the job, unless it is split: --chunk {max(int(fitting), 1)}"
    return Finding("memory for long sound", False, too_long, fatal=False, action=advice)


def _passed(examining: Examining, seconds: float) -> tuple[list[Finding], dict[int, int]]:
    """Passes a sound of some seconds through the model."""
    wave, began = examining.noise(round(seconds * SAMPLE_RATE)), time.perf_counter()
    with peak(examining.device) as bytes_:
        states = examining.states(wave)[0]
    per_second = (time.perf_counter() - began) / seconds
    whole = finite("long sound", examining, states)
    memory, each = bytes_["peak"] / 2**20, bytes_["peak"] / 2**20 / seconds
    return [
        Finding("long sound", whole.holds, f"{seconds:g} s: {whole.measured}", value=whole.value),
        Finding("memory", True, f"{memory:.0f} MiB at the peak, {each:.1f} MiB per second of sound", fatal=False, value=each),
        Finding("speed", True, f"{per_second:.4f} s per second of sound", fatal=False, value=per_second),
    ], {len(wave): states.shape[1]}
