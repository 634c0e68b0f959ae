"""A checkpoint cannot make superbench allocate more than its own weights."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import pytest

from superbench import plugins
from superbench.errors import BadCheckpoint
from superbench.plugins.checkpoints import fresh_model, load_model, save_model
from superbench.system.files import SEAL, load_tensors, save_sealed

GIGABYTE = 1_000_000_000


def forged(path: Path, **changes: Any) -> Path:
    """The checkpoint with other values in its configuration, sealed anew."""
    tensors, facts = load_tensors(path)
    del facts[SEAL]
    facts["config"] = json.dumps(json.loads(facts["config"]) | changes)
    save_sealed(path, tensors, facts)
    return path


@pytest.mark.parametrize("family", ["apc", "tera", "hubert", "cpc", "byol"])
def test_a_configuration_larger_than_the_weights_is_one_sentence_and_takes_no_memory(family: str, tmp_path: Path) -> None:
    kind, before = plugins.plugin(plugins.parse(family)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = fresh_model(kind, "mini", 0)
    sizes = {name: value for name, value in vars(model.config).items() if type(value) in (int, tuple)}
    assert len(sizes) >= 4
    for name, value in sizes.items():
        for huge in (10**9, 10**30):
            save_model(tmp_path / "a.safetensors", model, family=family, size="mini", facts={})
            file = forged(tmp_path / "a.safetensors", **{name: huge if isinstance(value, int) else [huge] * len(value)})
            with pytest.raises(BadCheckpoint, match=rf"not valid for {family}") as caught:
                load_model(kind, file, family)
            assert len(str(caught.value)) < 400 + len(str(tmp_path))
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GIGABYTE


@pytest.mark.parametrize("changes", [{"layers": 700}, {"layers": 700, "width": 700}, {"width": 700, "stack": 700}])
def test_sizes_that_are_dimensions_of_the_file_are_bounded_together(changes: dict[str, int], tmp_path: Path) -> None:
    kind = plugins.plugin(plugins.parse("apc"))
    save_model(tmp_path / "a.safetensors", fresh_model(kind, "mini", 0), family="apc", size="mini", facts={})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadCheckpoint, match=r"larger than the weights in the file|does not fit apc"):
        load_model(kind, forged(tmp_path / "a.safetensors", **changes), "apc")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GIGABYTE


def test_every_family_is_read_within_the_bound(tmp_path: Path) -> None:
    for row in plugins.list_upstreams():
        kind = plugins.plugin(plugins.parse(row.name)) if "…" not in row.name else None
        if hasattr(kind, "configs"):
            save_model(tmp_path / "a.safetensors", fresh_model(kind, "mini", 0), family=row.name, size="mini", facts={})
            assert load_model(kind, tmp_path / "a.safetensors", row.name)
