"""Finds the files of a transformers model and checks them: truncated files, byte-order marks, files not fetched, and code.

`name` is what messages call the model: `hf/ID`.

Code in a folder (`auto_map`) is never run, and the user is not asked to allow it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

from superbench import SAMPLE_RATE, BadCheckpoint, CommandError

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Files of weights in the order in which transformers looks for them; an index names the parts of weights in several files."""
CONFIGURATIONS = ("config.json", "preprocessor_config.json", "processor_config.json")
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
            raise BadCheckpoint(f"{name} lacks {path.name}, which its index of weights names. Bring that file too.")
        _must_be_fetched(path)


def read(path: Path) -> Mapping[str, Any]:
    """Reads a configuration; raises `BadCheckpoint` with the name of the file and the problem."""
    _must_be_fetched(path)
    content = path.read_bytes()
    if content.startswith(MARK):
        raise BadCheckpoint(
            f"{path} begins with a byte-order mark, which editors on Windows write and JSON does not allow. Save it as UTF-8 "
            "without one."
        )
    try:
        says = json.loads(content.decode())
    except ValueError as error:
        raise BadCheckpoint(f"{path} is cut off or damaged: as JSON it ends in {error}. Fetch the file again.") from error
    if not isinstance(says, dict):
        raise BadCheckpoint(f"{path} holds {type(says).__name__} in place of names and values. Fetch the file again.")
    return says


def must_bring_no_code(name: str, says: Mapping[str, Any]) -> None:
    """Raises `CommandError` for a configuration whose model is code in its folder, or elsewhere on the hub."""
    code = says.get("auto_map")
    own = {key: where for key, where in code.items() if key != "AutoTokenizer"} if isinstance(code, dict) else code
    kernel = says.get("attn_implementation") or says.get("_attn_implementation")
    if isinstance(kernel, str) and "/" in kernel:
        own = {"attn_implementation": kernel}
    if own:
        raise CommandError(f"{name} {own_code(json.dumps(own))}")


def own_code(what: str) -> str:
    """Returns the message that a model is code of its authors, and what to do."""
    return (
        f"is a model of its authors' own code ({what}), which is never run here. If you trust that code, give it as your own "
        "model, file.py:Class, a class that loads it."
    )


def weights(folder: Path) -> Iterator[Path]:
    """Yields the files of weights that transformers would read."""
    found = next((folder / file for file in WEIGHTS if (folder / file).is_file()), None)
    if found is None:
        return
    yield found
    if found.suffix == ".json":
        parts = read(found).get("weight_map", {})
        yield from sorted({folder / str(part) for part in parts.values()})


def _must_be_fetched(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise BadCheckpoint(
                f"{path} is a pointer of Git LFS ({path.stat().st_size} bytes) in place of the file itself, which was not "
                f"fetched. Fetch it: git lfs pull, in {path.parent}."
            )


def no_model(name: str, source: str, options: Mapping[str, Any], error: Exception) -> str:
    """Returns why nothing was loaded, and where each file belongs."""
    said = " ".join(str(error).split())[:300]
    if "trust_remote_code" in str(error):
        return f"{name} {own_code('auto_map')}"
    if isinstance(error, UnpicklingError | EOFError):
        said = "its weights are damaged, or hold more than numbers, which is never run here"
    if "local_files_only" in options:
        files = ", ".join(path.name for path in weights(Path(source))) or "no weights in it"
        return f"{name} ({files}) cannot be loaded: {said}. Expected a folder with config.json and model.safetensors."
    from huggingface_hub.constants import HF_HUB_CACHE

    hub, _, _ = name.partition("/")
    where = f"https://huggingface.co/{source}/tree/{options.get('revision', 'main')}"
    return (
        f"{name} cannot be loaded: {said}. If the network is at fault: fetch config.json, preprocessor_config.json and "
        f"model.safetensors (or pytorch_model.bin) from {where}, put them into one folder, and use {hub}/./FOLDER; or "
        f"bring the cache folder {Path(HF_HUB_CACHE) / ('models--' + source.replace('/', '--'))} from a machine that has it."
    )


def preprocessor(name: str, source: str, options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Reads `preprocessor_config.json`, or the part of `processor_config.json` that newer versions write instead."""
    from transformers.utils.hub import cached_file

    for file, part in (("preprocessor_config.json", None), ("processor_config.json", "feature_extractor")):
        path = cached_file(source, file, _raise_exceptions_for_missing_entries=False, **options)
        text = read(Path(path)) if path else None
        says = text.get(part) if text and part else text
        if says is None:
            continue
        must_bring_no_code(name, says)
        if says.get("sampling_rate", SAMPLE_RATE) != SAMPLE_RATE:
            raise CommandError(f"{name} works at {says['sampling_rate']} Hz; every task of SUPERB has {SAMPLE_RATE} Hz.")
        return says
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
