"""From what a person wrote to a model that is ready to run: found, built, its sources and weights digested."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Literal

from superbench.errors import BrokenPlugin, CommandError, SuperbenchError
from superbench.plugins import model_files
from superbench.plugins.entry_points import (
    DISTRIBUTION,
    HUBS as HUBS,
    TASKS as TASKS,
    UPSTREAMS as UPSTREAMS,
    find,
    load,
    points,
)
from superbench.plugins.rehearsal import rehearse
from superbench.plugins.revision import NOTHING, revision
from superbench.plugins.sources import Sources, sources_of, unread
from superbench.plugins.specs import Spec as Spec, parse
from superbench.plugins.tracing import forget, forget_changed, remember, traced, was_read

if TYPE_CHECKING:
    from superbench.plugins.reference_outputs import Outputs


Mates = Literal["any", "equal", "none"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """An upstream ready to run: the model, and what a result says of it.

    `mates`: which utterances may share a batch, as the doctor found: any, those of equal length, or none. `libraries`: `name
    version` of the packages that its code uses. `outputs`: a summary of what it gives for a few fixed sounds.
    """

    alias: str
    spec: Spec
    model: Any
    revision: str
    params: int
    hop: int
    layers: int
    dim: int
    mates: Mates = "any"
    libraries: tuple[str, ...] = ()
    outputs: Outputs | None = None


def plugin(spec: Spec) -> Any:
    """What a spec's name stands for, imported: a class, or a hub's `load`.

    The file of a person's own model is read in a child process before it is read here.
    """
    if ".py:" in spec.name:
        if not was_read(model_files.module_name(spec.name)):
            rehearse_plugin(spec)
        found = model_files.read(spec.name)
        if stale := unread(
            model_files.module_name(spec.name)
        ):  # imported before by somebody else, who may have read other text
            forget(stale)
            found = model_files.read(spec.name)
        return found
    point = _point(spec)
    if not _built_in(point):
        forget(unread(point.module))
    with traced():
        return load(point)


def rehearse_plugin(spec: Spec) -> None:
    """Import what a spec's name stands for in a child process, not in this one. Raises what the import raises there, and
    `EndedProcess`."""
    rehearse(_plugin_of, spec.text, what=spec.text)


def _plugin_of(text: str) -> None:
    plugin(parse(text))


def upstream(spec: Spec, device: str = "cpu") -> Loaded:
    """Build the upstream of a spec, in eval mode on `device`, with its parameters frozen.

    Raises `UnknownName`, `BrokenPlugin`, `BadCheckpoint`, `CommandError` for options that it does not know.
    """
    forget_changed()
    with traced(passing=".py:" in spec.name) as trace, model_files.importing(spec.name):
        model = _built(spec)
        root, built_in = _home(spec)
        sources = sources_of(root, _kinds(model), remember(root, spec.name, trace))
    missing = [name for name in ("sample_rate", "hop", "layers", "dim") if not isinstance(getattr(model, name, None), int)]
    if missing or not callable(model):
        raise BrokenPlugin(
            f"{spec.text} is no upstream: it lacks {', '.join(missing) or 'a call'}. An upstream declares sample_rate, hop, "
            "layers and dim as whole numbers, and is called with (waves, lengths). See CONTRIBUTING.md, 'Add a model'."
        )
    _check_declared(spec, model)
    return loaded(spec, model, device, sources, built_in=built_in)


def _check_declared(spec: Spec, model: Any) -> None:
    """Raises `BrokenPlugin` for a number that no upstream can have."""
    for name in ("sample_rate", "hop", "layers", "dim"):
        value = getattr(model, name)
        if isinstance(value, bool) or value < 1:
            raise BrokenPlugin(f"{spec.text} declares {name} {value}: expected a whole number, 1 or more. Correct its {name}.")


def _built(spec: Spec) -> Any:
    found = plugin(spec)
    if spec.hub:
        return _call(spec, found, spec.name, spec.file)
    if hasattr(found, "configs"):
        return _trainable(spec, found)
    if spec.options or spec.file:
        raise CommandError(f"{spec.name} has no weights and no options, but {spec.text!r} gives some. Use {spec.name} alone.")
    return _call(spec, found) if inspect.isclass(found) else _call(spec, _adopted, found)


def loaded(spec: Spec, model: Any, device: str = "cpu", sources: Sources = NOTHING, *, built_in: bool = False) -> Loaded:
    """A model that is there, ready to run under the name of `spec`. `sources`: what it was made of besides its weights."""
    from torch import nn

    params = 0
    if isinstance(model, nn.Module):
        params = sum(_size(spec, name, parameter) for name, parameter in model.named_parameters())
        model.eval().requires_grad_(False).to(device)
    name = spec.name.rpartition(":")[2] if ".py:" in spec.name else ""
    digest = revision(model, sources, name, declared=built_in)
    return Loaded(spec.alias, spec, model, digest, params, model.hop, model.layers, model.dim, libraries=sources.libraries)


def _size(spec: Spec, name: str, parameter: Any) -> int:
    from torch.nn.parameter import is_lazy

    if is_lazy(parameter):
        raise BrokenPlugin(
            f"{spec.text}: the parameter {name!r} has no value yet: it belongs to a lazy module. Give that module its sizes, "
            "or pass sound through it once in __init__, with random numbers from a fixed seed."
        )
    return int(parameter.numel())


def _home(spec: Spec) -> tuple[str, bool]:
    """The module that a spec's model comes from, and whether superbench brings it."""
    if ".py:" in spec.name:
        return model_files.module_name(spec.name), False
    point = _point(spec)
    return point.module, _built_in(point)


def is_built_in(spec: Spec) -> bool:
    """Does superbench bring the model of a spec?"""
    return ".py:" not in spec.name and _built_in(_point(spec))


def is_built_in_task(name: str) -> bool:
    """Does superbench bring a task?"""
    return _built_in(points(TASKS)[name])


def _point(spec: Spec) -> EntryPoint:
    return find(HUBS, "hub", spec.hub) if spec.hub else find(UPSTREAMS, "upstream", spec.name)


def _built_in(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == DISTRIBUTION


def _kinds(model: Any) -> set[type]:
    """The classes of a model and of its parts."""
    parts = model.modules() if hasattr(model, "modules") and hasattr(model, "state_dict") else ()
    return {type(part) for part in (model, *parts)}


def _adopted(found: Any) -> Any:
    """A plain function declares nothing; anything else is taken as it is."""
    if not inspect.isfunction(found):
        return found
    from superbench.plugins.functions import PlainFunction

    return PlainFunction(found)


def _trainable(spec: Spec, found: Any) -> Any:
    from superbench.plugins.checkpoints import fresh_model, load_model

    words = [option for option in spec.options if "=" not in option]
    values = dict(option.split("=", 1) for option in spec.options if "=" in option)
    sizes = [word for word in words if word in found.configs]
    unknown = [word for word in words if word not in found.configs and word != "untrained"] + [k for k in values if k != "seed"]
    if unknown or len(sizes) > 1:
        raise CommandError(
            f"{spec.text!r}: {spec.name} knows the options {', '.join(found.configs)}, untrained, seed=N; "
            f"found {', '.join(unknown or sizes)}."
        )
    if spec.file:
        if spec.options:
            raise CommandError(f"{spec.text!r}: a checkpoint knows its own size; leave out {','.join(spec.options)}.")
        return load_model(found, spec.file, spec.name)
    if "untrained" not in words:
        raise CommandError(
            f"{spec.name} needs weights: {spec.name}@FILE, or {spec.name}:untrained for a random control. To train one: "
            f"superbench pretrain {spec.name} --audio DIR --out {spec.name}.safetensors"
        )
    seed = values.get("seed", "0")
    if not seed.isdecimal():
        raise CommandError(f"{spec.text!r}: seed={seed} is not a whole number, 0 or more.")
    return fresh_model(found, sizes[0] if sizes else "mini", int(seed))


def _call(spec: Spec, found: Any, *arguments: Any) -> Any:
    try:
        return found(*arguments)
    except (SuperbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BrokenPlugin(f"{spec.text} could not be built: {type(error).__name__}: {error}. --debug shows where.") from error
