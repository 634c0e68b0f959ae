"""Finds the files of a transformers model and checks them: truncated files, byte-order marks, files not fetched, and code.

`name` is what messages call the model: `hf/ID`.

Code in a folder (`auto_map`) is never run, and the user is not asked to allow it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from safetensors import SafetensorError, safe_open

from superbench import SAMPLE_RATE, BadCheckpoint, CommandError

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files of weights in the order in which transformers looks for them; an index names the parts of weights in several files."""
CONFIGURATIONS = ("config.json", "preprocessor_config.json", "processor_config.json")
LAYERS = ("num_hidden_layers", "encoder_layers")
SIZES = ("hidden_size", "d_model", "intermediate_size", "encoder_ffn_dim", "conv_dim", "num_mel_bins")
"""Names of the sizes of layers in `config.json`; each is a dimension of a weight."""
_LAYER = re.compile(r"\blayers?\.(\d+)\.")
POINTER = b"version https://git-lfs"
MARK = b"\xef\xbb\xbf"


def source_of(name: str) -> tuple[str, dict[str, Any]]:
    """Returns the arguments for transformers: a folder or an id, and options; raises `BadCheckpoint` for an empty folder."""
    if name[:1] in ("/", ".", "~"):
        folder = Path(name).expanduser()
        if not (folder / "config.json").is_file():
            raise BadCheckpoint(f"{folder} has no config.json. Expected a folder that save_pretrained wrote.")
        return str(folder), {"local_files_only": True}
    identity, _, revision = name.partition(":")
    return identity, {"revision": revision} if revision else {}


def must_be_whole(name: str, folder: Path) -> None:
    """Raises `BadCheckpoint` for a file that is truncated or not fetched, `CommandError` for a folder with code."""
    for file in CONFIGURATIONS:
        if (folder / file).is_file():
            must_bring_no_code(name, read(folder / file))
    for path in weights(folder):
        if not path.is_file():
            raise BadCheckpoint(f"{name} lacks {path.name}, which its index of weights names. Fetch that file too.")
        must_be_fetched(path)


def must_fit(name: str, folder: Path) -> None:
    """Raises `BadCheckpoint` for a configuration with more layers, or larger ones, than the weights have: transformers would
    allocate them. Only safetensors files say what they contain without being loaded."""
    files = [path for path in weights(folder) if path.suffix == ".safetensors"]
    if not files:
        return
    try:
        shapes = {key: shape for path in files for key, shape in shapes_of(path).items()}
    except SafetensorError:  # damaged: transformers finds it again, and it is said then
        return
    says = read(folder / "config.json")
    layers = {found.group(1) for key in shapes if (found := _LAYER.search(key))}
    largest = max((size for shape in shapes.values() for size in shape if 0 not in shape), default=0)
    for key, most in {**dict.fromkeys(LAYERS, len(layers)), **dict.fromkeys(SIZES, largest)}.items():
        values = says.get(key, 0)
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, int) and value > most:
                raise BadCheckpoint(
                    f"{name}: config.json says {key} {value}, but the weights in {files[0].name} have at most {most}. "
                    "Fetch both files again."
                )


def shapes_of(path: Path) -> dict[str, Sequence[int]]:
    """Returns the shapes of the tensors in a safetensors file by name, from its header; raises `SafetensorError`."""
    with safe_open(path, "pt") as file:
        return {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118


def read(path: Path) -> Mapping[str, Any]:
    """Reads a configuration; raises `BadCheckpoint` with the name of the file and the problem."""
    must_be_fetched(path)
    content = path.read_bytes()
    if content.startswith(MARK):
        raise BadCheckpoint(
            f"{path} begins with a byte-order mark, which editors on Windows write and JSON does not allow. Save it as UTF-8 "
            "without one."
        )
    try:
        settings = json.loads(content.decode())
    except ValueError as error:
        raise BadCheckpoint(f"{path} is cut off or damaged: as JSON it ends in {error}. Fetch the file again.") from error
    if not isinstance(settings, dict):
        raise BadCheckpoint(f"{path} contains {type(settings).__name__} in place of names and values. Fetch the file again.")
    return settings


def must_bring_no_code(name: str, settings: Mapping[str, Any]) -> None:
    """Raises `CommandError` for a configuration whose model is code in its folder, or elsewhere on the hub."""
    code = settings.get("auto_map")
    needed = {key: where for key, where in code.items() if key != "AutoTokenizer"} if isinstance(code, dict) else code
    kernel = settings.get("attn_implementation") or settings.get("_attn_implementation")
    if isinstance(kernel, str) and "/" in kernel:
        needed = {"attn_implementation": kernel}
    if needed:
        raise CommandError(f"{name} {own_code(json.dumps(needed))}")


def own_code(setting: str) -> str:
    """Returns the message for a model that is code of its authors, and what to do."""
    return (
        f"is a model of its authors' own code ({setting}), which superbench never runs. If you trust that code, write a class "
        "that loads it, and use it as your own model: file.py:Class."
    )


def weights(folder: Path) -> Iterator[Path]:
    """Yields the files of weights that transformers would read."""
    path = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if path is None:
        return
    yield path
    if path.suffix == ".json":
        parts = read(path).get("weight_map", {})
        yield from sorted({folder / str(part) for part in parts.values()})


def must_be_fetched(path: Path) -> None:
    """Raises `BadCheckpoint` for a pointer of Git LFS in place of a file."""
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise BadCheckpoint(
                f"{path} is a pointer of Git LFS ({path.stat().st_size} bytes) in place of the file itself, which was not "
                f"fetched. Fetch it: git lfs pull, in {path.parent}."
            )


def no_model(name: str, source: str, options: Mapping[str, Any], error: Exception) -> str:
    """Returns why nothing was loaded, and where each file belongs."""
    reason = " ".join(str(error).split())[:300]
    if "trust_remote_code" in str(error):
        return f"{name} {own_code('auto_map')}"
    if isinstance(error, UnpicklingError | EOFError):
        reason = "its weights are damaged, or contain code, which superbench never runs"
    if "local_files_only" in options:
        files = ", ".join(path.name for path in weights(Path(source))) or "no weights in it"
        return f"{name} ({files}) cannot be loaded: {reason}. Expected a folder with config.json and model.safetensors."
    from huggingface_hub.constants import HF_HUB_CACHE

    hub, _, _ = name.partition("/")
    where = f"https://huggingface.co/{source}/tree/{options.get('revision', 'main')}"
    return (
        f"{name} cannot be loaded: {reason}. Without network access, fetch config.json, preprocessor_config.json and "
        f"model.safetensors (or pytorch_model.bin) from {where} on another machine, put them into one folder, and use "
        f"{hub}/./FOLDER; or copy the cache folder {Path(HF_HUB_CACHE) / ('models--' + source.replace('/', '--'))} from there."
    )


def preprocessor(name: str, source: str, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Reads `preprocessor_config.json`, or the part of `processor_config.json` that newer versions write instead."""
    from transformers.utils.hub import cached_file

    for file, part in (("preprocessor_config.json", None), ("processor_config.json", "feature_extractor")):
        path = cached_file(source, file, _raise_exceptions_for_missing_entries=False, **options)
        text = read(Path(path)) if path else None
        settings = text.get(part) if text and part else text
        if settings is None:
            continue
        must_bring_no_code(name, settings)
        if settings.get("sampling_rate", SAMPLE_RATE) != SAMPLE_RATE:
            raise CommandError(f"{name} works at {settings['sampling_rate']} Hz; every task of SUPERB has {SAMPLE_RATE} Hz.")
        return settings
    return None


@contextmanager
def quiet() -> Iterator[None]:
    """Silences progress bars and reports of unused weights; relevant problems are raised as our own errors."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def described(config: Any) -> Mapping[str, Any]:
    """Returns a configuration without what differs between two copies of a model: its path and the version that wrote it."""
    passing = ("_name_or_path", "name_or_path", "_commit_hash", "transformers_version")
    return {key: value for key, value in config.to_dict().items() if key not in passing}
