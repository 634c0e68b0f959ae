"""superbench compares representations of speech models on the ten tasks of SUPERB.

The names in `__all__` are the public interface; built-in upstreams and tasks import nothing else. Each name is loaded on first
use, so that `import superbench` stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from superbench.__version__ import __version__ as __version__

if TYPE_CHECKING:
    from superbench.board.board import Board as Board
    from superbench.contract import (
        SAMPLE_RATE as SAMPLE_RATE,
        Answers as Answers,
        Audio as Audio,
        Episode as Episode,
        Features as Features,
        FewShot as FewShot,
        Fold as Fold,
        Head as Head,
        Item as Item,
        LayerFeatures as LayerFeatures,
        Likelihood as Likelihood,
        Outputs as Outputs,
        Pair as Pair,
        PairSet as PairSet,
        Parts as Parts,
        Prediction as Prediction,
        Pretraining as Pretraining,
        Recipe as Recipe,
        Score as Score,
        Selection as Selection,
        Setting as Setting,
        Shots as Shots,
        Split as Split,
        Task as Task,
        TaskCard as TaskCard,
        Trial as Trial,
        Upload as Upload,
        Upstream as Upstream,
    )
    from superbench.contract.corpora import Corpora as Corpora
    from superbench.contract.scoring import accuracy as accuracy, one_per_item as one_per_item, ratio as ratio
    from superbench.contract.sizes import FreshCrops as FreshCrops, Size as Size
    from superbench.contract.text import read_text as read_text
    from superbench.data.audio import header as audio_header, load as load_audio
    from superbench.data.manifest import Manifest as Manifest, read_manifest as read_manifest
    from superbench.data.synthesis import synthesize as synthesize, synthesize_pairs as synthesize_pairs
    from superbench.errors import (
        BadAudio as BadAudio,
        BadCheckpoint as BadCheckpoint,
        BadCorpus as BadCorpus,
        BadUpstream as BadUpstream,
        CommandError as CommandError,
        IncompleteCorpus as IncompleteCorpus,
        MissingCorpus as MissingCorpus,
        MissingExtra as MissingExtra,
        MissingFiles as MissingFiles,
        SuperbenchError as SuperbenchError,
    )
    from superbench.plugins import list_tasks as list_tasks, list_upstreams as list_upstreams
    from superbench.results.tables import load_results as load_results
    from superbench.runs.commands import check as check, compare as compare, forecast as forecast
    from superbench.runs.pairs import minimal_pairs as minimal_pairs
    from superbench.runs.runner import run as run
    from superbench.system.files import load_tensors as load_tensors
    from superbench.training.few_shot.classification import CENTRINGS as CENTRINGS, centred as centred
    from superbench.training.few_shot.episodes import draw_examples as draw_examples, draw_order as draw_order
    from superbench.training.pretraining.generation import generate as generate
    from superbench.training.pretraining.pretrain import pretrain as pretrain

_HOMES = {
    "superbench.contract": (
        "SAMPLE_RATE Answers Audio Episode Features FewShot Fold Head Item LayerFeatures Likelihood Outputs Pair "
        "PairSet Parts Prediction Pretraining Recipe Score Selection Setting Shots Split Task TaskCard Trial Upload Upstream"
    ),
    "superbench.runs.commands": "check compare forecast",
    "superbench.contract.corpora": "Corpora",
    "superbench.errors": (
        "BadAudio BadCheckpoint BadCorpus BadUpstream CommandError IncompleteCorpus MissingCorpus MissingExtra MissingFiles "
        "SuperbenchError"
    ),
    "superbench.system.files": "load_tensors",
    "superbench.board.board": "Board",
    "superbench.training.pretraining.generation": "generate",
    "superbench.training.pretraining.pretrain": "pretrain",
    "superbench.plugins": "list_tasks list_upstreams",
    "superbench.results.tables": "load_results",
    "superbench.runs.pairs": "minimal_pairs",
    "superbench.runs.runner": "run",
    "superbench.contract.scoring": "accuracy one_per_item ratio",
    "superbench.contract.sizes": "FreshCrops Size",
    "superbench.data.manifest": "Manifest read_manifest",
    "superbench.data.synthesis": "synthesize synthesize_pairs",
    "superbench.contract.text": "read_text",
    "superbench.training.few_shot.classification": "CENTRINGS centred",
    "superbench.training.few_shot.episodes": "draw_examples draw_order",
}
_RENAMED = {"audio_header": "header", "load_audio": "load"}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()} | dict.fromkeys(
    _RENAMED, "superbench.data.audio"
)

__all__ = [  # sorted
    "CENTRINGS", "SAMPLE_RATE", "Answers", "Audio", "BadAudio", "BadCheckpoint", "BadCorpus", "BadUpstream", "Board",
    "CommandError", "Corpora", "Episode", "Features", "FewShot", "Fold", "FreshCrops", "Head", "IncompleteCorpus", "Item",
    "LayerFeatures", "Likelihood", "Manifest", "MissingCorpus", "MissingExtra", "MissingFiles", "Outputs", "Pair", "PairSet",
    "Parts",
    "Prediction", "Pretraining", "Recipe", "Score", "Selection", "Setting", "Shots", "Size", "Split", "SuperbenchError",
    "Task", "TaskCard", "Trial", "Upload", "Upstream", "accuracy", "audio_header", "centred", "check", "compare",
    "draw_examples", "draw_order", "forecast", "generate", "list_tasks", "list_upstreams", "load_audio", "load_results",
    "load_tensors", "minimal_pairs", "one_per_item", "pretrain", "ratio", "read_manifest", "read_text", "run", "synthesize",
    "synthesize_pairs",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'superbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), _RENAMED.get(name, name))


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
