"""From a name to a plugin: entry points, `file.py:Class`, `hub/id`, `name@checkpoint`, `name:untrained`.

Names are listed from package metadata, without importing anything; a plugin is imported when it is chosen.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from superbench import scripts
from superbench.errors import BrokenPlugin, CommandError, SuperbenchError, UnknownName
from superbench.revision import NOTHING, revision
from superbench.sources import Sources, sources_of, unread
from superbench.tracing import forget, forget_changed, remember, traced
from superbench.user import expanded

if TYPE_CHECKING:
    from superbench.contract import Task
    from superbench.features.outputs import Outputs

Mates = Literal["any", "equal", "none"]
DISTRIBUTION = "speech-superbench"
UPSTREAMS, HUBS, NAMES, TASKS = "superbench.upstreams", "superbench.hubs", "superbench.names", "superbench.tasks"


@dataclass(frozen=True, slots=True)
class Listed:
    """A registered name, where it comes from, and the first line of its module's docstring."""

    name: str
    module: str
    distribution: str
    line: str


@dataclass(frozen=True, slots=True)
class Spec:
    """`[alias=]name[:options][@FILE]`, taken apart. `hub` is the part before the slash of `hub/id`, or None."""

    text: str
    alias: str
    hub: str | None
    name: str
    options: tuple[str, ...]
    file: Path | None

    @property
    def folder(self) -> str:
        """The alias with every character outside `A-Za-z0-9._-` turned into `_`."""
        return re.sub(r"[^A-Za-z0-9._-]", "_", self.alias)


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


def listed(group: str) -> list[Listed]:
    """All names registered in an entry-point group, sorted; nothing is imported."""
    return [
        Listed(point.name, point.value, point.dist.name if point.dist else "?", _first_line(point.module))
        for point in sorted(entry_points(group=group), key=lambda point: point.name)
    ]


def offered(hub: str) -> dict[str, str]:
    """Names that a hub offers, each with its family or kind; the hub itself is not imported.

    Raises `UnknownName` for a hub that is not there, `CommandError` for one that lists nothing.
    """
    _find(HUBS, "hub", hub)
    points = {point.name: point for point in entry_points(group=NAMES)}
    if hub not in points:
        raise CommandError(f"The hub {hub!r} has no list of names here: an id of its own hub is a name, as in {hub}/ID.")
    return _load(points[hub])()


def tasks() -> dict[str, Task]:
    """All registered tasks by name, sorted; each is imported. Raises `BrokenPlugin`."""
    return {point.name: _load(point) for point in sorted(entry_points(group=TASKS), key=lambda point: point.name)}


def task(name: str) -> Task:
    """The registered task of that name; raises `UnknownName` or `BrokenPlugin`."""
    return _load(_find(TASKS, "task", name))


def parse(text: str) -> Spec:
    """Take a spec apart; raises `CommandError` for an empty one.

    >>> parse("apc@demo/apc.safetensors").alias, parse("small=apc:untrained,seed=3").options
    ('apc', ('untrained', 'seed=3'))
    >>> parse("hf/facebook/hubert-base-ls960").hub
    'hf'
    """
    alias, found, rest = text.partition("=")
    if not found or re.search(r"[:/@]", alias):
        alias, rest = "", text
    body, _, file = rest.partition("@")
    hub, slash, name = body.partition("/")
    path = expanded(file) if file else None
    if ".py:" in body:
        return Spec(text, alias or body.rsplit(":", 1)[1], None, body, (), path)
    if slash and hub in {point.name for point in entry_points(group=HUBS)}:
        short = Path(name).name if name[:1] in "/.~" else name
        return Spec(text, alias or f"{hub}/{short}", hub, name, (), path)
    name, _, options = body.partition(":")
    if not name:
        raise CommandError(f"{text!r} names no upstream. Expected [alias=]name, as in apc:untrained or mine=hf/./folder.")
    return Spec(text, alias or body, None, name, tuple(filter(None, options.split(","))), path)


def specs(texts: list[str]) -> list[Spec]:
    """Parse several; two that would share a folder are an error that asks for an alias."""
    parsed = [parse(text) for text in texts]
    seen: dict[str, Spec] = {}
    for spec in parsed:
        if spec.folder in seen:
            raise CommandError(
                f"{seen[spec.folder].text!r} and {spec.text!r} would both be called {spec.alias!r}. "
                f"Give one of them an alias: other={spec.text}"
            )
        seen[spec.folder] = spec
    return parsed


def plugin(spec: Spec) -> Any:
    """What a spec's name stands for, imported: a class, or a hub's `load`."""
    if ".py:" in spec.name:
        found = scripts.read(spec.name)
        if stale := unread(scripts.module_name(spec.name)):  # imported before by somebody else, who may have read other text
            forget(stale)
            found = scripts.read(spec.name)
        return found
    point = _point(spec)
    if not _built_in(point):
        forget(unread(point.module))
    with traced():
        return _load(point)


def upstream(spec: Spec, device: str = "cpu") -> Loaded:
    """Build the upstream of a spec, in eval mode on `device`, with its parameters frozen.

    Raises `UnknownName`, `BrokenPlugin`, `BadCheckpoint`, `CommandError` for options that it does not know.
    """
    forget_changed()
    with traced(passing=".py:" in spec.name) as trace, scripts.importing(spec.name):
        model = _built(spec)
        root, built_in = _home(spec)
        sources = sources_of(root, _kinds(model), remember(root, spec.name, trace))
    missing = [name for name in ("sample_rate", "hop", "layers", "dim") if not isinstance(getattr(model, name, None), int)]
    if missing or not callable(model):
        raise BrokenPlugin(
            f"{spec.text} is no upstream: it lacks {', '.join(missing) or 'a call'}. An upstream declares sample_rate, hop, "
            "layers and dim as whole numbers, and is called with (waves, lengths). See CONTRIBUTING.md, 'Add a model'."
        )
    return loaded(spec, model, device, sources, built_in=built_in)


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
        model.eval().requires_grad_(False).to(device)
        params = sum(parameter.numel() for parameter in model.parameters())
    name = spec.name.rpartition(":")[2] if ".py:" in spec.name else ""
    digest = revision(model, sources, name, declared=built_in)
    return Loaded(spec.alias, spec, model, digest, params, model.hop, model.layers, model.dim, libraries=sources.libraries)


def _home(spec: Spec) -> tuple[str, bool]:
    """The module that a spec's model comes from, and whether superbench brings it."""
    if ".py:" in spec.name:
        return scripts.module_name(spec.name), False
    point = _point(spec)
    return point.module, _built_in(point)


def _point(spec: Spec) -> EntryPoint:
    return _find(HUBS, "hub", spec.hub) if spec.hub else _find(UPSTREAMS, "upstream", spec.name)


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
    from superbench.plain import PlainFunction

    return PlainFunction(found)


def _trainable(spec: Spec, found: Any) -> Any:
    from superbench.checkpoints import fresh_model, load_model

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
    except SuperbenchError:
        raise
    except Exception as error:
        raise BrokenPlugin(f"{spec.text} could not be built: {type(error).__name__}: {error}. --debug shows where.") from error


def _find(group: str, kind: str, name: str) -> EntryPoint:
    points = {point.name: point for point in entry_points(group=group)}
    if name not in points:
        raise UnknownName(kind, name, points, f"superbench list {'tasks' if group == TASKS else 'upstreams'}")
    return points[name]


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except SuperbenchError:
        raise
    except Exception as error:
        owner = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"
        raise BrokenPlugin(
            f"The plugin {point.name!r} ({point.value}, from {owner}) could not be imported: {type(error).__name__}: {error}. "
            f"Mend or uninstall {owner}."
        ) from error


def _first_line(module: str) -> str:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return "(cannot be found)"
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_bytes())) or ""
    return text.partition("\n")[0]
