"""Names that the hubs offer, or how to write them; read without importing the hubs or torch."""

from __future__ import annotations

import ast
import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from superbench import MissingExtra

NO_ESPNET = (
    "Models of ESPnet cannot be read, because it does not install beside superbench: versions 202207 to 202511 need protobuf "
    "or importlib-metadata of 2022, 202611 needs Python 3.12 and omegaconf before 2.4, and 202205 needs a compiler."
)
INSTEAD = "Export the encoder as onnx/FILE.onnx, or write a class that loads it in an environment with ESPnet: file.py:Class."


def s3prl() -> dict[str, str]:
    """Returns entry of S3PRL's hub -> family, in the order of families; raises `MissingExtra`."""
    families = {}
    for path in sorted(_folder("s3prl").glob("upstream/*/hubconf.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                families[node.name] = path.parent.name
    return families


def torchaudio() -> dict[str, str]:
    """Returns bundle of wave models, in lower case -> type of bundle; raises `MissingExtra`."""
    tree = ast.parse((_folder("torchaudio") / "pipelines" / "_wav2vec2" / "impl.py").read_text())
    return {
        node.targets[0].id.lower(): node.value.func.id
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call)
        if isinstance(node.value.func, ast.Name) and node.value.func.id.startswith("Wav2Vec2")
    }


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingExtra(f"{package}/...", package, "all")
    return Path(spec.origin).parent


def hf() -> dict[str, str]:
    """Returns how to write the names of models of the Hugging Face hub."""
    extra = _installed("transformers", "hf")
    return {"ID": f"a model of the hub, as facebook/hubert-base-ls960; {extra}", "ID:REVISION": "one revision of it",
            "./FOLDER": "a folder that save_pretrained wrote"}  # fmt: skip


def fairseq() -> dict[str, str]:
    """Returns how to write the names of checkpoints of fairseq."""
    return {"FILE.pt": "wav2vec 2.0, HuBERT, data2vec or WavLM as fairseq saved it; fairseq is not needed"}


def hear() -> dict[str, str]:
    """Returns how to write the names of modules with the HEAR interface."""
    return {"MODULE": "a Python module with load_model and get_timestamp_embeddings", "MODULE@FILE": "the same with weights"}


def onnx() -> dict[str, str]:
    """Returns how to write the names of ONNX files."""
    return {"FILE.onnx": f"waves (batch, samples) in, hidden states out; {_installed('onnxruntime', 'onnx')}"}


def speechbrain() -> dict[str, str]:
    """Returns how to write the names of folders of speechbrain."""
    extra = _installed("speechbrain", "speechbrain")
    return {"./FOLDER": f"hyperparams.yaml, which is code that runs, and its checkpoints, as from_hparams reads them; {extra}"}


def espnet() -> dict[str, str]:
    """Returns why there are no names of ESPnet's models."""
    return {"(none)": f"{NO_ESPNET} {INSTEAD}"}


def _installed(package: str, extra: str) -> str:
    try:
        return f"{package} {version(package)} is installed"
    except PackageNotFoundError:
        return f"{package} is not installed: pip install 'speech-superbench[{extra}]'"
