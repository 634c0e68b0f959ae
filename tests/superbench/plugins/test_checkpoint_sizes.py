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
    """The checkpoint with other values in its configuration and a new digest."""
    tensors, facts = load_tensors(path)
    del facts[SEAL]
    facts["config"] = json.dumps(json.loads(facts["config"]) | changes)
    save_sealed(path, tensors, facts)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("family", ["apc", "tera", "hubert", "cpc", "byol"])
def test_a_configuration_larger_than_the_weights_is_refused_without_allocating_memory(family: str, tmp_path: Path) -> None:
    model_class, before = plugins.plugin(plugins.parse(family)), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = fresh_model(model_class, "mini", 0)
    sizes = {name: value for name, value in vars(model.config).items() if type(value) in (int, tuple)}
    assert len(sizes) >= 4
    for name, value in sizes.items():
        for huge in (10**9, 10**30):
            save_model(tmp_path / "a.safetensors", model, family=family, size="mini", facts={})
            file = forged(tmp_path / "a.safetensors", **{name: huge if isinstance(value, int) else [huge] * len(value)})
            with pytest.raises(BadCheckpoint, match=rf"not valid for {family}") as caught:
                load_model(model_class, file, family)
            assert len(str(caught.value)) < 400 + len(str(tmp_path))
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GIGABYTE


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"layers": 700}, {"layers": 700, "width": 700}, {"width": 700, "stack": 700}])
def test_sizes_that_are_dimensions_of_the_file_are_bounded_together(changes: dict[str, int], tmp_path: Path) -> None:
    model_class = plugins.plugin(plugins.parse("apc"))
    save_model(tmp_path / "a.safetensors", fresh_model(model_class, "mini", 0), family="apc", size="mini", facts={})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadCheckpoint, match=r"larger than the weights in the file|does not fit apc"):
        load_model(model_class, forged(tmp_path / "a.safetensors", **changes), "apc")
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < GIGABYTE


@pytest.mark.slow
def test_checkpoints_of_every_family_are_within_the_bound(tmp_path: Path) -> None:
    for row in plugins.list_upstreams():
        model_class = plugins.plugin(plugins.parse(row.name)) if "…" not in row.name else None
        if hasattr(model_class, "configs"):
            save_model(tmp_path / "a.safetensors", fresh_model(model_class, "mini", 0), family=row.name, size="mini", facts={})
            assert load_model(model_class, tmp_path / "a.safetensors", row.name)
