"""The contract between the engine, an upstream and a task.

Every type in this package is a frozen record or a `typing.Protocol`, so a plugin needs no base class. Shapes are written
`(layer, batch, time, dim)`; times are samples at 16 kHz unless a name says seconds.
"""

from __future__ import annotations

from superbench.contract.few_shot import (
    Answers as Answers,
    Episode as Episode,
    FewShot as FewShot,
    LayerFeatures as LayerFeatures,
    Shots as Shots,
)
from superbench.contract.in_context import Continuing as Continuing, Likelihood as Likelihood, Part as Part, Parts as Parts
from superbench.contract.items import (
    SAMPLE_RATE as SAMPLE_RATE,
    Audio as Audio,
    Fold as Fold,
    Item as Item,
    Split as Split,
    Trial as Trial,
)
from superbench.contract.model import (
    Echoing as Echoing,
    Features as Features,
    Following as Following,
    Generative as Generative,
    Precision as Precision,
    Prepared as Prepared,
    Pretrainable as Pretrainable,
    Pretraining as Pretraining,
    Upstream as Upstream,
)
from superbench.contract.pairs import Pair as Pair, PairSet as PairSet
from superbench.contract.predictions import Outputs as Outputs, Prediction as Prediction, Score as Score, Setting as Setting
from superbench.contract.task import (
    CUSTOM as CUSTOM,
    UNTRAINED as UNTRAINED,
    Candidates as Candidates,
    Head as Head,
    Protocols as Protocols,
    Recipe as Recipe,
    Reduction as Reduction,
    Selection as Selection,
    Stacked as Stacked,
    Task as Task,
    TaskCard as TaskCard,
    Upload as Upload,
)
