"""The numbers of the official recipes.

The `config.yaml` files are not in the published package: `TABLE` restates protocol.md 2.0. How the training batches are loaded
is asked of the loaders that each `DownstreamExpert` of `s3prl.downstream` builds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn
from torch.utils.data import RandomSampler, WeightedRandomSampler

from superbench import plugins

Reference = Callable[[str], Any]
Bare = Callable[..., nn.Module]

TABLE = {  # optimizer, updates, batch, accumulation, clip, evaluated every
    "pr": ("adam", 100_000, 16, 2, 1, 1_000),
    "asr": ("adam", 200_000, 32, 1, 1, 2_000),
    "sf": ("adam", 200_000, 32, 1, 1, 2_000),
    "ks": ("adam", 200_000, 32, 1, 1, 5_000),
    "ic": ("adam", 200_000, 32, 1, 1, 5_000),
    "er": ("adam", 30_000, 4, 8, 1, 1_000),
    "sid": ("adam", 200_000, 8, 4, 1, 5_000),
    "asv": ("adamw", 200_000, 10, 5, 1_000, 20_000),
    "sd": ("adam", 30_000, 8, 4, 1, 500),
}


@pytest.mark.parametrize("name", TABLE)
def test_official_numbers_are_those_of_the_protocol(name: str) -> None:
    recipe = plugins.task(name).card.recipes["superb"]
    numbers = (recipe.optimizer, recipe.steps, recipe.batch, recipe.accumulate, recipe.clip, recipe.evaluate_every)
    assert numbers == TABLE[name]


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("ks", "speech_commands"),
        ("ic", "fluent_commands"),
        ("er", "emotion"),
        ("sid", "voxceleb1"),
        ("asv", "sv_voxceleb1"),
        ("sd", "diarization"),
    ],
)
def test_training_batches_are_loaded_as_theirs(reference: Reference, bare: Bare, name: str, recipe: str) -> None:
    ours = plugins.task(name).card.recipes["superb"]
    items = list(range(3 * ours.batch + 1))
    dataset = type("Numbers", (list,), {"collate_fn": list, "sample_weights": [1.0] * len(items)})(items)
    numbers = {"train_batch_size": ours.batch, "batch_size": ours.batch, "num_workers": 0, "train_batchsize": ours.batch}
    expert = bare(
        reference(f"downstream.{recipe}.expert").DownstreamExpert,
        datarc=numbers,
        loaderrc=numbers,
        train_batch_size=ours.batch,
        train_dataset=dataset,
    )
    loader = expert.get_dataloader("train")
    assert loader.batch_size == ours.batch
    assert isinstance(loader.sampler, {"balanced": WeightedRandomSampler, "shuffle": RandomSampler}[ours.sampler])
    assert loader.drop_last == ours.drop_last


def test_evaluation_of_writing_tasks_reads_one_utterance_at_a_time(reference: Reference) -> None:
    """So the padding that the source would write down is never there; ours cuts it off at any batch size."""
    assert reference("downstream.ctc.data").EVAL_BATCH_SIZE == 1
