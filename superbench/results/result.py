"""The record of one result, schema 1: every field with its type, its range and its size.

A result may come from a stranger, and what it says is drawn on pages: so no field is without bounds, and none takes whatever
comes. Where keys are free (metrics, folds, settings), their number, their length and their values are bounded. The bounds are
many times what the largest corpora and models of SUPERB need. Fields that came later are optional: older results stay readable.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator, with_config
from typing_extensions import TypedDict

from superbench.contract import Protocols
from superbench.data.passport import Passport
from superbench.system.records import (
    CLOSED,
    Amount,
    Count,
    Digest,
    Few,
    Line,
    Many,
    Name,
    Rate,
    Real,
    Record,
    Remarks,
    Text,
    Weight,
)

MOST_POINTS = 5_000
"""Of a sweep: folds × learning rates × seeds × checkpoints."""
MOST_SETTINGS = 12
"""Different names of settings in one sweep: each is a column beside every point."""
Value = bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | Real | Annotated[str, Field(max_length=100)]
Setting = Annotated[dict[Annotated[str, Field(max_length=40)], Value], Field(max_length=8)]
"""What is chosen without learning: a layer, a distance, a threshold."""


class TaskFacts(Record):
    """Which task, which version of it, under which protocol."""

    name: Name
    version: Count
    protocol: Protocols


class UpstreamFacts(Record):
    """Which model: alias, digest of weights and source, sizes; `hop` in samples, `macs` over SUPERB's 32 lengths."""

    name: Name
    revision: Name
    params: Count
    macs: Amount | None = None
    hop: Annotated[int, Field(ge=1, le=16_000_000)]
    layers: Annotated[int, Field(ge=1, le=10_000)]
    dim: Annotated[int, Field(ge=1, le=10_000_000)]


class ScoreFacts(Record):
    """A metric: value, unit, direction, 95 % interval (or null) with how it was made, the counts that it is made of."""

    value: Real
    unit: Literal["%", "fraction"]
    higher_is_better: bool
    ci: tuple[Real, Real] | None = None
    ci_method: Line | None = None
    counts: Many[Real]


class Receipt(Record):
    """One point of the sweep: where its best dev value came; null where it diverged. `setting` was chosen without learning."""

    fold: Name
    lr: Rate | None
    seed: Count | None
    dev: Real | None
    steps: Count
    setting: Setting = Field(default_factory=dict)
    status: Line | None = None


@with_config(CLOSED)
class Choice(TypedDict, total=False):
    """What was chosen for a fold: learning rate, seed, step, setting."""

    lr: Rate | None
    seed: Count | None
    step: Count | None
    setting: Setting | None


class DataFacts(Record):
    """Which data: digest of sound, labels and trials; items per split as they were cut; digests of the sound of each split as
    it was read; the passport."""

    fingerprint: Name
    items: Few[Count]
    sounds: Few[Digest] = Field(default_factory=dict)
    passport: Passport = Field(default_factory=Passport)


@with_config(CLOSED)
class Outputs(TypedDict, total=False):
    """A model's outputs on a few fixed sounds; see `plugins.reference_outputs`."""

    setting: Line
    values: Annotated[list[Real], Field(max_length=100_000)]


@with_config(CLOSED)
class Seal(TypedDict, total=False):
    """Digests of the record, of its predictions and of its learning curves, as they were written."""

    result: Digest
    predictions: Digest
    learning: Digest


@with_config(CLOSED)
class Surroundings(TypedDict, total=False):
    """Versions and machine; what tells the job, its model and its options apart from others; outputs and seal."""

    superbench: Line
    python: Line
    torch: Line
    torchaudio: Line
    numpy: Line
    cuda: Line
    cudnn: Line
    dtype: Line
    platform: Line
    device: Line
    threads: Count
    date: Line
    job: Line
    spec: Text
    source: Text
    options: Text
    libraries: Annotated[list[Line], Field(max_length=500)]
    outputs: Outputs
    seal: Seal


@with_config(CLOSED)
class Examined(TypedDict, total=False):
    """One finding of the doctor's."""

    holds: bool
    measured: Text
    action: Text


@with_config(CLOSED)
class Measured(TypedDict, total=False):
    """How the speed was measured."""

    device: Line
    threads: Count
    sound_seconds: Amount
    batch: Count


@with_config(CLOSED)
class Cost(TypedDict, total=False):
    """What the model costs; see `efficiency.Efficiency`. `corpus`: what it was pretrained on, where somebody says so."""

    params: Count | None
    macs: Count | None
    macs_by_length: Few[Count] | None
    stride_ms: Amount
    layers: Count
    dim: Count
    corpus: Line | None
    real_time_factor: Amount | None
    measured: Measured


class Seconds(Record):
    """Where the time went."""

    extract: Amount
    train: Amount
    evaluate: Amount


class Result(Record):
    """`result.json`, schema 1."""

    schema_: Literal[1] = Field(alias="schema")
    task: TaskFacts
    upstream: UpstreamFacts
    scores: Annotated[dict[Name, ScoreFacts], Field(min_length=1, max_length=50)]
    primary: Name
    sweep: Annotated[list[Receipt], Field(max_length=MOST_POINTS)]
    chosen: Few[Choice]
    data: DataFacts
    environment: Surroundings
    seconds: Seconds
    predictions: Name
    layer_weights: Few[Annotated[list[Weight], Field(max_length=10_000)]] = Field(default_factory=dict)
    certificate: Few[Examined] = Field(default_factory=dict)
    efficiency: Cost = Field(default_factory=Cost)
    deviations: Remarks = Field(default_factory=list)
    notes: Remarks = Field(default_factory=list)

    @field_validator("sweep")
    @classmethod
    def _few_settings(cls, sweep: list[Receipt]) -> list[Receipt]:
        names = {name for receipt in sweep for name in receipt.setting}
        if len(names) > MOST_SETTINGS:
            raise ValueError(f"a sweep has at most {MOST_SETTINGS} different settings, found {len(names)}")
        return sweep

    @model_validator(mode="after")
    def _one_mix_of_the_layers(self) -> Result:
        """The mixes of all folds are of the same layers; a head that takes one layer has one weight."""
        lengths = {len(mix) for mix in self.layer_weights.values()} - {0}
        if len(lengths) > 1 or max(lengths, default=0) > self.upstream.layers:
            raise ValueError(
                f"layer_weights: expected one number of weights for all folds, at most {self.upstream.layers}, "
                f"found {', '.join(map(str, sorted(lengths)))}"
            )
        return self

    def to_json(self) -> str:
        """The text of `result.json`."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def is_miniature(result: Result) -> bool:
    """Was a result made on a synthetic miniature corpus? Passports without lists do not say; then `mini` results were."""
    passport = result.data.passport
    return bool(passport.miniature) or (result.task.protocol == "mini" and not passport.lists)
