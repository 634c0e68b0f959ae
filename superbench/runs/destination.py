"""Where results go, so that none takes another's place.

The folder of an upstream holds the results of one model under one set of options. Another set of options gets a folder whose
name says them (`apc--layer-0`); another model of the same name is refused, and asked for an alias.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from superbench.contract import Precision, Protocols
from superbench.contract.paths import expanded
from superbench.errors import Occupied
from superbench.plugins import Loaded, Spec
from superbench.results import LEARNING, REPLACED, Result
from superbench.results.draws import DRAWS
from superbench.runs.options import Options
from superbench.system.files import write_text
from superbench.system.ranges import in_full


def label_of(options: Options, protocol: Protocols, precision: Precision) -> str:
    """What options add to a name: nothing for the `protocol` and `precision` that are usual here, with nothing overridden.

    >>> label_of(Options("mini", layer=0, max_steps=50), "mini", "float32"), label_of(Options("superb"), "mini", "float32")
    ('--layer-0--max-steps-50', '--protocol-superb')
    """
    words = {
        "protocol": options.protocol if options.trains and options.protocol != protocol else None,
        "layer": options.layer, "max-steps": options.max_steps, "lr": options.learning_rates,
        "seeds": options.seeds if options.seeds != (0,) else None, "variant": options.variants or None,
        "shots": options.shots, "draws": None if options.draws == DRAWS else options.draws,
        "chunk": options.chunk_seconds, "precision": options.precision if options.precision != precision else None,
    }  # fmt: skip
    return "".join(f"--{word}-{_text(value)}" for word, value in words.items() if value is not None)


def _text(value: Any) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    return "-".join(in_full(part) if isinstance(part, float) else str(part) for part in parts)


def placed(spec: Spec, out: Path, options: Options, protocol: Protocols) -> Spec:
    """The spec under the name that its results get: its own where its folder is free, or holds results of the same options;
    else with the label that says the options. The usual ones are then called by their protocol."""
    label = options.label
    other = replace(spec, alias=spec.alias + (label or f"--protocol-{protocol}"))
    if label in _options_in(out / other.folder, options.subfolder):
        return other
    return spec if _options_in(out / spec.folder, options.subfolder) <= {label} else other


def _options_in(folder: Path, subfolder: str) -> set[str]:
    """The options of the results that a folder holds; of protocols that train nothing, those in their subfolder."""
    pattern = f"*/{subfolder}/result.json" if subfolder else "*/result.json"
    return {_options_of(facts) for path in folder.glob(pattern) for facts in _facts(path)}


def _facts(path: Path) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(OSError, ValueError):  # a damaged result is no result
        facts = json.loads(path.read_text())
        if isinstance(facts, dict):
            yield facts


def _options_of(facts: dict[str, Any]) -> str:
    """As `label_of` says; results of superbench 0.1 did not note it."""
    noted = facts.get("environment", {}).get("options")
    return str(noted if noted is not None else "not known" if facts.get("deviations") else "")


def source_of(spec: Spec) -> str:
    """Where a spec's model comes from, as a digest: its text with every path made absolute. The alias says nothing of it."""
    name = spec.name
    if ".py:" in name:
        file, _, attribute = name.rpartition(":")
        name = f"{expanded(file).resolve()}:{attribute}"
    elif spec.hub and name[:1] in "/.~":
        name = str(expanded(name).resolve())
    facts = [spec.hub, name, spec.options, str(spec.file.resolve()) if spec.file else None]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def check_free(there: Result, upstream: Loaded, label: str) -> None:
    """May a job of this upstream, run with these options, take the place of a result? Only of the same model and options, in
    another state; raises `Occupied` for any other."""
    spec, noted = upstream.spec, there.environment
    text = spec.text.partition("=")[2] or spec.text
    if there.upstream.name != upstream.alias or (there.upstream.revision != upstream.revision and _elsewhere(noted, spec)):
        raise Occupied(
            f"{spec.folder!r} holds results of another model: {there.upstream.name} ({noted.get('spec', 'spec not known')}, "
            f"revision {there.upstream.revision}); this one is {text} (revision {upstream.revision}). Nothing was overwritten. "
            f"Give this one an alias: other={text}"
        )
    if _options_of({"environment": noted, "deviations": there.deviations}) != label:
        raise Occupied(
            f"{spec.folder!r} has got results of other options ({'; '.join(there.deviations) or 'the recipe as it is'}) since "
            "this run began. Nothing was overwritten. Run the same command again: it takes a folder of its own."
        )


def _elsewhere(noted: Mapping[str, Any], spec: Spec) -> bool:
    """Does a result's model come from another place than the spec's? Results of superbench 0.1 noted the spec alone."""
    if "source" in noted:
        return bool(noted["source"] != source_of(spec))
    return bool(noted.get("spec") != spec.text)


def keep_replaced(place: Path, there: Result) -> None:
    """Move a result that is about to be replaced, with its files, to `replaced/<job>/` beside it: a result folder like any."""
    kept = place / REPLACED / re.sub(r"[^A-Za-z0-9]", "_", str(there.environment.get("job", "not_known_before")))
    write_text(kept / "result.json", there.to_json())
    for name in (there.predictions, LEARNING):
        with contextlib.suppress(FileNotFoundError):
            (place / name).replace(kept / name)
    (place / "result.json").unlink(missing_ok=True)
