"""Builds the model of a spec, ready to run, and computes the digest of its sources and weights."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Literal

from superbench.errors import BrokenPlugin, CommandError, SuperbenchError, UnknownName
from superbench.plugins import model_files
from superbench.plugins.advice import advice_on_path
from superbench.plugins.arguments import call_of, given_to
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
    from superbench.plugins.outputs import Outputs


Batching = Literal["any", "equal", "none"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """An upstream ready to run: the model, and the facts that a result contains.

    `batching`: which utterances may share a batch, as the examination measured: any, those of equal length, or none.
    `libraries`: `name version` of the packages that its code uses. `outputs`: a summary of its outputs for a few fixed sounds.
    """

    alias: str
    spec: Spec
    model: Any
    revision: str
    params: int
    hop: int
    layers: int
    dim: int
    batching: Batching = "any"
    libraries: tuple[str, ...] = ()
    outputs: Outputs | None = None


def plugin(spec: Spec) -> Any:
    """Imports and returns the object that a spec names: a class, a function, or a hub's `load`.

    The file of a person's own model is first read in a child process.
    """
    if ".py:" in spec.name:
        if not was_read(model_files.module_name(spec.name)):
            rehearse_plugin(spec)
        factory = model_files.read(spec.name)
        stale = unread(model_files.module_name(spec.name))
        if stale:  # other code imported them before: their files may have changed since
            forget(stale)
            factory = model_files.read(spec.name)
        return factory
    point = _point(spec)
    if not _built_in(point):
        forget(unread(point.module))
    with traced():
        return load(point)


def rehearse_plugin(spec: Spec) -> None:
    """Imports the object that a spec names in a child process, not in this one. Raises the errors of the import, and
    `EndedProcess`."""
    rehearse(_plugin_of, spec.text, what=spec.text)


def _plugin_of(text: str) -> None:
    plugin(parse(text))


def upstream(spec: Spec, device: str = "cpu") -> Loaded:
    """Builds the upstream of a spec, in eval mode on `device`, with its parameters frozen.

    Raises `UnknownName`, `BrokenPlugin`, `BadCheckpoint`, and `CommandError` for unknown options.
    """
    forget_changed()
    with traced(one_model=".py:" in spec.name) as trace, model_files.importing(spec.name):
        model = _built(spec)
        root, built_in = _root_module(spec)
        sources = sources_of(root, _classes(model), remember(root, spec.name, trace))
    missing = [name for name in ("sample_rate", "hop", "layers", "dim") if not isinstance(getattr(model, name, None), int)]
    if missing or not callable(model):
        raise BrokenPlugin(
            f"{spec.text} is no upstream: it lacks {', '.join(missing) or 'a call'}. Expected sample_rate, hop, layers and dim "
            "as whole numbers, and a call with (waves, lengths). See CONTRIBUTING.md, 'Add a model'."
        )
    _check_declared(spec, model)
    return loaded(spec, model, device, sources, built_in=built_in)


def _check_declared(spec: Spec, model: Any) -> None:
    """Raises `BrokenPlugin` if a declared number is less than 1."""
    for name in ("sample_rate", "hop", "layers", "dim"):
        value = getattr(model, name)
        if isinstance(value, bool) or value < 1:
            raise BrokenPlugin(f"{spec.text} declares {name} {value}: expected a whole number, 1 or more. Correct its {name}.")


def _built(spec: Spec) -> Any:
    factory = plugin(spec)
    if spec.hub:
        return _call(spec, factory, spec.name, spec.file)
    if hasattr(factory, "configs"):
        return _trainable(spec, factory)
    if spec.options or spec.file:
        make, arguments, options = call_of(spec, factory)
        return _call(spec, make, *arguments, **options)
    return _call(spec, factory) if inspect.isclass(factory) else _call(spec, _as_upstream, factory)


def loaded(spec: Spec, model: Any, device: str = "cpu", sources: Sources = NOTHING, *, built_in: bool = False) -> Loaded:
    """Returns a model that was built already, ready to run under the name of `spec`, and as one at 16 kHz. `sources`: the files
    of its code, and its libraries."""
    from torch import nn

    from superbench.plugins.resampling import at_16_khz

    params = 0
    if isinstance(model, nn.Module):
        params = sum(_size(spec, name, parameter) for name, parameter in model.named_parameters())
        model.eval().requires_grad_(False)
    name = spec.name.rpartition(":")[2] if ".py:" in spec.name else ""
    weights_tell = built_in or hasattr(type(model), "configs")  # of a model that superbench can pretrain, weights and sizes do
    digest = revision(model, sources, name, declared=built_in, given="" if weights_tell else given_to(spec))
    resampled = at_16_khz(model, spec.text)
    if resampled is not model:
        digest, model = f"{digest}-{model.sample_rate}", resampled.eval()
    if isinstance(model, nn.Module):
        model.to(device)
    return Loaded(
        alias=spec.alias,
        spec=spec,
        model=model,
        revision=digest,
        params=params,
        hop=model.hop,
        layers=model.layers,
        dim=model.dim,
        libraries=sources.libraries,
    )


def _size(spec: Spec, name: str, parameter: Any) -> int:
    from torch.nn.parameter import is_lazy

    if is_lazy(parameter):
        raise BrokenPlugin(
            f"{spec.text}: the parameter {name!r} has no value yet, because it belongs to a lazy module. Set the sizes of that "
            "module, or call it once in __init__, with random numbers from a fixed seed."
        )
    return int(parameter.numel())


def _root_module(spec: Spec) -> tuple[str, bool]:
    """Returns the module that defines a spec's model, and whether the model is built in."""
    if ".py:" in spec.name:
        return model_files.module_name(spec.name), False
    point = _point(spec)
    return point.module, _built_in(point)


def is_built_in(spec: Spec) -> bool:
    """Returns whether the model of a spec is part of superbench."""
    return ".py:" not in spec.name and _built_in(_point(spec))


def is_built_in_task(name: str) -> bool:
    """Returns whether a task is part of superbench."""
    point = points(TASKS).get(name)
    return point is not None and _built_in(point)


def _point(spec: Spec) -> EntryPoint:
    if spec.hub:
        return find(HUBS, "hub", spec.hub)
    try:
        return find(UPSTREAMS, "upstream", spec.name)
    except UnknownName as error:
        if advice := advice_on_path(spec.name):
            raise CommandError(advice) from error
        raise


def _built_in(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == DISTRIBUTION


def _classes(model: Any) -> set[type]:
    """Returns the classes of a model and of its modules."""
    parts = model.modules() if hasattr(model, "modules") and hasattr(model, "state_dict") else ()
    return {type(part) for part in (model, *parts)}


def _as_upstream(model: Any) -> Any:
    """Returns an upstream that calls a plain function; any other object is returned as it is."""
    if not inspect.isfunction(model):
        return model
    from superbench.plugins.functions import PlainFunction

    return PlainFunction(model)


def _trainable(spec: Spec, family: Any) -> Any:
    from superbench.plugins.checkpoints import fresh_model, load_model

    words = [option for option in spec.options if "=" not in option]
    values = dict(option.split("=", 1) for option in spec.options if "=" in option)
    sizes = [word for word in words if word in family.configs]
    unknown = [word for word in words if word not in family.configs and word != "untrained"] + [
        k for k in values if k != "seed"
    ]
    if unknown or len(sizes) > 1:
        raise CommandError(
            f"{spec.text!r}: the options of {spec.name} are one of {', '.join(family.configs)}; untrained; seed=N. "
            f"Found {', '.join(unknown or sizes)}."
        )
    if spec.file:
        if spec.options:
            raise CommandError(
                f"{spec.text!r}: the checkpoint contains the size of its model. Leave out {','.join(spec.options)}."
            )
        return load_model(family, spec.file, spec.name)
    if "untrained" not in words:
        raise CommandError(
            f"{spec.name} needs weights: {spec.name}@FILE, or {spec.name}:untrained for random weights. To train weights: "
            f"superbench pretrain {spec.name} --audio DIR --out {spec.name}.safetensors"
        )
    seed = values.get("seed", "0")
    if not seed.isdecimal():
        raise CommandError(f"{spec.text!r}: expected a whole number, 0 or more, found seed={seed}.")
    return fresh_model(family, sizes[0] if sizes else "mini", int(seed))


def _call(spec: Spec, factory: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return factory(*arguments, **options)
    except (SuperbenchError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise BrokenPlugin(f"{spec.text} could not be built: {type(error).__name__}: {error}. --debug shows where.") from error
