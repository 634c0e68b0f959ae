"""Chooses the folder of results, so that no result overwrites another.

The folder of an upstream contains the results of one model with one set of options. Results of other options get a folder whose
name contains the options (`apc--layer-0`); another model of the same name is an error, which recommends an alias.
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

from superbench.contract import CUSTOM, Precision, Protocols
from superbench.contract.paths import expanded
from superbench.errors import Occupied
from superbench.plugins import Loaded, Spec
from superbench.results import LEARNING, REPLACED, Result
from superbench.results.draws import DRAWS
from superbench.runs.options import Options
from superbench.system.files import write_text
from superbench.system.ranges import in_full


def label_of(options: Options, protocol: Protocols, precision: Precision) -> str:
    """Returns the text that options add to a name: empty for the usual `protocol` and `precision` and no other option.

    >>> label_of(Options("mini", layer=0, max_steps=50), "mini", "float32"), label_of(Options("superb"), "mini", "float32")
    ('--layer-0--max-steps-50', '--protocol-superb')
    """
    states = options.states
    one, several = (states, None) if states and len(states) == 1 else (None, states)
    words = {
        "protocol": options.protocol if options.trains and options.protocol not in (protocol, CUSTOM) else None,
        "layer": one, "layers": several, "max-steps": options.max_steps, "lr": options.learning_rates,
        "seeds": options.seeds if options.seeds != (0,) else None, "variant": options.variants or None,
        "shots": options.shots, "draws": None if options.draws == DRAWS else options.draws,
        "chunk": options.chunk_seconds, "batch-seconds": options.batch_seconds, "limit": options.limit,
        "precision": options.precision if options.precision != precision else None,
        "store-format": options.store_format if options.store_format != "float16" else None,
    }  # fmt: skip
    return "".join(f"--{word}-{_text(value)}" for word, value in words.items() if value is not None)


def _text(value: Any) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    return "-".join(in_full(part) if isinstance(part, float) else str(part) for part in parts)


def placed(spec: Spec, out: Path, options: Options, protocol: Protocols) -> Spec:
    """Returns the spec with the name of its results: its alias if that folder is free or has results of the same options;
    otherwise the alias and the label. If the label is empty, the protocol is added."""
    label = options.label
    other = replace(spec, alias=spec.alias + (label or f"--protocol-{protocol if options.trains else options.protocol}"))
    if label in _options_in(out / other.folder, options.subfolder):
        return other
    return spec if _options_in(out / spec.folder, options.subfolder) <= {label} else other


def _options_in(folder: Path, subfolder: str) -> set[str]:
    """Returns the option labels of the results in a folder; `subfolder`: that of a protocol that trains nothing, or empty."""
    pattern = f"*/{subfolder}/result.json" if subfolder else "*/result.json"
    return {_options_of(facts) for path in folder.glob(pattern) for facts in _facts(path)}


def _facts(path: Path) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(OSError, ValueError):  # a damaged result is ignored
        facts = json.loads(path.read_text())
        if isinstance(facts, dict):
            yield facts


def _options_of(facts: dict[str, Any]) -> str:
    """Returns the option label of a result (see `label_of`); results of superbench 0.1 do not contain one."""
    label = facts.get("environment", {}).get("options")
    return str(label if label is not None else "not known" if facts.get("deviations") else "")


def source_of(spec: Spec) -> str:
    """Returns a digest that identifies the source of a spec's model: its text with absolute paths, without the alias."""
    name = spec.name
    if ".py:" in name:
        file, _, attribute = name.rpartition(":")
        name = f"{expanded(file).resolve()}:{attribute}"
    elif spec.hub and name[:1] in "/.~":
        name = str(expanded(name).resolve())
    facts = [spec.hub, name, spec.options, str(spec.file.resolve()) if spec.file else None]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def check_free(earlier: Result, upstream: Loaded, label: str) -> None:
    """Raises `Occupied` unless an earlier result has the same model and options, so that this job may replace it. The data, the
    weights or superbench may have changed since."""
    spec, environment = upstream.spec, earlier.environment
    text = spec.text.partition("=")[2] or spec.text
    same_revision = earlier.upstream.revision == upstream.revision
    if earlier.upstream.name != upstream.alias or not (same_revision or _same_source(environment, spec)):
        raise Occupied(
            f"{spec.folder!r} contains results of another model: {earlier.upstream.name} "
            f"({environment.get('spec', 'spec not known')}, revision {earlier.upstream.revision}); this one is {text} "
            f"(revision {upstream.revision}). Nothing was overwritten. Give this one an alias: other={text}"
        )
    if _options_of({"environment": environment, "deviations": earlier.deviations}) != label:
        raise Occupied(
            f"Another run has written results of other options ({'; '.join(earlier.deviations) or 'the plain recipe'}) to "
            f"{spec.folder!r} since this run began. Nothing was overwritten. Run the same command again: its results go to "
            "another folder."
        )


def _same_source(environment: Mapping[str, Any], spec: Spec) -> bool:
    """Returns whether a result's model has the same source as the spec's. Results of superbench 0.1 contain only the spec."""
    if "source" in environment:
        return bool(environment["source"] == source_of(spec))
    return bool(environment.get("spec") == spec.text)


def keep_replaced(folder: Path, earlier: Result) -> None:
    """Moves a result that is about to be replaced, with its files, from `folder` to its subfolder `replaced/<job>/`."""
    kept = folder / REPLACED / re.sub(r"[^A-Za-z0-9]", "_", str(earlier.environment.get("job", "not_known_before")))
    write_text(kept / "result.json", earlier.to_json())
    for name in (earlier.predictions, LEARNING):
        with contextlib.suppress(FileNotFoundError):
            (folder / name).replace(kept / name)
    (folder / "result.json").unlink(missing_ok=True)
