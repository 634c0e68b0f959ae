"""The record of one result: the type, range and maximal size of every field.

Schema 1 is the result of trained heads. Schema 2 adds `shots`, for protocols that train nothing.

A result may come from an unknown person, and its content is shown on web pages. Therefore every field has a type and bounds. If
keys are free (metrics, folds, settings), their number, their length and their values are bounded. The bounds are much larger
than the largest corpora and models of SUPERB need. Fields that were added later are optional, so older results remain readable.
"""

from __future__ import annotations

import json
import math
from html import escape
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator, with_config
from typing_extensions import TypedDict

from superbench.contract import UNTRAINED, Protocols
from superbench.data.passport import Passport
from superbench.results.score_facts import ScoreFacts as ScoreFacts
from superbench.results.told import Told
from superbench.system.records import CLOSED, Amount, Count, Digest, Few, Line, Name, Rate, Real, Record, Remarks, Text, Weight
from superbench.system.spelling import visible

MOST_POINTS = 5_000
"""The most points of a sweep: folds × learning rates × seeds × checkpoints."""
MOST_DRAWS = 1_000
"""The most draws of the examples."""
MOST_SHOTS = 30
"""The most different K of one result."""
MOST_SETTINGS = 12
"""The most different names of settings in one sweep; each is a column of the sweep's table."""
Value = bool | Annotated[int, Field(ge=-(2**53), le=2**53)] | Real | Annotated[str, Field(max_length=100)]
Setting = Annotated[dict[Annotated[str, Field(max_length=40)], Value], Field(max_length=8)]
"""Values that are chosen without training: a layer, a distance, a threshold."""


class TaskFacts(Record):
    """The task, its version, and the protocol."""

    name: Name
    version: Count
    protocol: Protocols


class UpstreamFacts(Record):
    """The model: alias, digest of weights and source code, sizes; `hop` in samples, `macs` for SUPERB's 32 lengths."""

    name: Name
    revision: Name
    params: Count
    macs: Amount | None = None
    hop: Annotated[int, Field(ge=1, le=16_000_000)]
    layers: Annotated[int, Field(ge=1, le=10_000)]
    dim: Annotated[int, Field(ge=1, le=10_000_000)]


class Receipt(Record):
    """One point of the sweep: its best dev value (null if it diverged) and the step. `setting` was chosen without training."""

    fold: Name
    lr: Rate | None
    seed: Count | None
    dev: Real | None
    steps: Count
    setting: Setting = Field(default_factory=dict)
    status: Line | None = None


@with_config(CLOSED)
class Choice(TypedDict, total=False):
    """The choice for a fold: learning rate, seed, step, setting."""

    lr: Rate | None
    seed: Count | None
    step: Count | None
    setting: Setting | None


class DataFacts(Record):
    """The data: digest of audio, labels and trials; number of items per split, after segmentation; digests of the audio of each
    split as it was read; the passport."""

    fingerprint: Name
    items: Few[Count]
    sounds: Few[Digest] = Field(default_factory=dict)
    passport: Passport = Field(default_factory=Passport)


@with_config(CLOSED)
class Outputs(TypedDict, total=False):
    """The outputs of a model for a few fixed waveforms; see `plugins.reference_outputs`."""

    setting: Line
    values: Annotated[list[Real], Field(max_length=100_000)]


@with_config(CLOSED)
class Seal(TypedDict, total=False):
    """Digests of the record, of its predictions and of its learning curves, at the time of writing."""

    result: Digest
    predictions: Digest
    learning: Digest


@with_config(CLOSED)
class Surroundings(TypedDict, total=False):
    """Versions and machine; identifiers of the job, its model and its options; outputs and seal. `prepared`: the protocol by
    whose rules the corpus was prepared, where nothing is trained. `command`: see `runs.command`. `dtype`: the format
    of frames, if not float16. `plugin`: the distribution of the task, if it is not built in."""

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
    prepared: Line
    spec: Text
    command: Text
    plugin: Line
    source: Text
    options: Text
    libraries: Annotated[list[Line], Field(max_length=500)]
    outputs: Outputs
    own_task: Told
    seal: Seal


@with_config(CLOSED)
class Examined(TypedDict, total=False):
    """One contract check of the upstream: whether it holds, what was measured, and what the run does about it."""

    holds: bool
    measured: Text
    action: Text


@with_config(CLOSED)
class Measured(TypedDict, total=False):
    """The conditions under which the speed was measured."""

    device: Line
    threads: Count
    sound_seconds: Amount
    batch: Count


@with_config(CLOSED)
class Cost(TypedDict, total=False):
    """The cost of the model; see `efficiency.Efficiency`. `corpus`: the pretraining corpus, if it is known."""

    params: Count | None
    macs: Count | None
    macs_by_length: Few[Count] | None
    stride_ms: Amount
    layers: Count
    dim: Count
    corpus: Line | None
    real_time_factor: Amount | None
    measured: Measured


class ShotFacts(Record):
    """The primary score for one K: mean over `draws` of the examples. `setting` was chosen on dev; `floor` is the score of an
    answer that ignores the sound; `controls` are scores of the same method without its sound or its labels, by name."""

    k: Annotated[int, Field(ge=0, le=1_000_000)] | Literal["all"]
    draws: Annotated[int, Field(ge=1, le=MOST_DRAWS)]
    setting: Setting
    score: Real
    ci: tuple[Real, Real] | None
    floor: Real
    controls: Few[Real] = Field(default_factory=dict)


class Seconds(Record):
    """The seconds spent in each stage."""

    extract: Amount
    train: Amount
    evaluate: Amount


class Result(Record):
    """`result.json`. `shots` exists in schema 2 only: an entry for each K, ascending, `all` last."""

    schema_: Literal[1, 2] = Field(alias="schema")
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
    shots: Annotated[list[ShotFacts], Field(min_length=1, max_length=MOST_SHOTS)] | None = None

    @field_validator("sweep")
    @classmethod
    def _few_settings(cls, sweep: list[Receipt]) -> list[Receipt]:
        names = {name for receipt in sweep for name in receipt.setting}
        if len(names) > MOST_SETTINGS:
            raise ValueError(f"a sweep has at most {MOST_SETTINGS} different settings, found {len(names)}")
        return sweep

    @model_validator(mode="after")
    def _one_mix_of_the_layers(self) -> Result:
        """Check that all folds have the same number of layer weights; a head that reads one layer has one weight."""
        lengths = {len(mix) for mix in self.layer_weights.values()} - {0}
        if len(lengths) > 1 or max(lengths, default=0) > self.upstream.layers:
            raise ValueError(
                f"layer_weights: expected one number of weights for all folds, at most {self.upstream.layers}, "
                f"found {', '.join(map(str, sorted(lengths)))}"
            )
        return self

    @model_validator(mode="after")
    def _shots_ascend(self) -> Result:
        """Check that `shots` and schema 2 go with the protocols that train nothing, and that every K appears once, in order."""
        untrained = self.task.protocol in UNTRAINED
        if (self.schema_ == 2) != untrained or (self.shots is not None) != untrained:
            raise ValueError(f"protocol {self.task.protocol}: expected schema {1 + untrained}, with shots only in schema 2")
        places = [math.inf if entry.k == "all" else entry.k for entry in self.shots or ()]
        if places != sorted(set(places)):
            raise ValueError("shots: expected every k once, in ascending order, with all at the end")
        return self

    @model_serializer(mode="wrap")
    def _without_empty_shots(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave `shots` out of schema 1, whose digests existed before schema 2."""
        facts: dict[str, Any] = handler(self)
        if self.shots is None:
            facts.pop("shots", None)
        return facts

    def to_json(self) -> str:
        """Return the text of `result.json`."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def __repr__(self) -> str:
        """Return one line: model, task, protocol, and the primary score with its 95 % interval."""
        score = self.scores[self.primary]
        unit = " %" if score.unit == "%" else ""
        between = f" [{score.ci[0]:.4g}, {score.ci[1]:.4g}]" if score.ci else ""
        what = f"{self.upstream.name} · {self.task.name} (protocol {self.task.protocol})"
        return f"<Result {visible(what)}: {self.primary} {score.value:.4g}{unit}{between}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: a row for each metric with its 95 % interval; deviations and notes below."""
        head = f"{self.upstream.name} · {self.task.name} (version {self.task.version}, protocol {self.task.protocol})"
        rows = ""
        for metric, score in self.scores.items():
            interval = f"{score.ci[0]:.4g} to {score.ci[1]:.4g}" if score.ci else "–"
            arrow = "↑" if score.higher_is_better else "↓"
            cells = [f"{metric} {arrow}", f"{score.value:.4g}{' %' if score.unit == '%' else ''}", interval]
            rows += f"<tr>{''.join(f'<td>{escape(visible(cell))}</td>' for cell in cells)}</tr>"
        lines = [f"deviates from the recipe: {deviation}" for deviation in self.deviations] + list(self.notes)
        below = "".join(f"<br><small>{escape(visible(line))}</small>" for line in lines)
        titles = "<tr><th>metric</th><th>value</th><th>95 % interval</th></tr>"
        return f"<table><caption>{escape(visible(head))}</caption>{titles}{rows}</table>{below}"


def is_miniature(result: Result) -> bool:
    """Return whether a result was made on a synthetic miniature corpus. If the passport has no lists, `mini` results were."""
    passport = result.data.passport
    return bool(passport.miniature) or (result.task.protocol == "mini" and not passport.lists)
