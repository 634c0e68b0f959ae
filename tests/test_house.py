"""The structure of the code: allowed imports, sizes of files and functions, an entry point for every plugin file."""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import superbench

ROOT = Path(__file__).parents[1]
FLOORS = [
    {"errors", "__version__"},
    {"contract"},
    {"system"},
    {"plugins"},
    {"data"},
    {"features", "results"},
    {"training", "board"},
    {"runs"},
    {"cli", "__init__"},
    {"__main__"},
]
"""From the ground up: a room imports only from floors below its own. `upstream`, `downstream` and `benchmarks` stand on top."""

LONGEST_FILE, LONGEST_FUNCTION = 300, 40
POSITIONAL = 4
"""A record takes at most so many values by position."""
PRODUCT = ("superbench", "upstream", "downstream")
ACCESSORS = ("setattr", "getattr", "delattr", "hasattr", "patch", "object")


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> set[str]:
    """Modules that a file imports, `from x import y` giving `x`; imports for type checkers alone are left out."""
    tree = parsed(path)
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} - {"superbench"} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room(module: str) -> str:
    """`superbench.features.store` lies in the room `features`; the package itself is `__init__`."""
    return [*module.split("."), "__init__"][1]


def floor(module: str) -> int:
    """Which floor a module of the engine lives on."""
    found = [number for number, rooms in enumerate(FLOORS) if room(module) in rooms]
    assert found, f"{module} has no floor: {room(module)} is no room of FLOORS"
    return found[0]


def modules() -> dict[str, Path]:
    """Modules of the engine by their dotted names; a package by its own."""
    named = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in python_files("superbench")}
    return {name.removesuffix(".__init__"): path for name, path in named.items()}


def ours(names: set[str]) -> set[str]:
    """Those of `names` that are modules of the engine, `superbench.errors.BadAudio` counting as `superbench.errors`."""
    known, found = modules(), set()
    for name in names:
        parts = name.split(".")
        if parts[0] == "superbench":
            found.add(next(tried for end in range(len(parts), 0, -1) if (tried := ".".join(parts[:end])) in known))
    return found


def python_files(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.slow
@pytest.mark.parametrize("path", python_files("superbench"), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_engine_imports_downward_and_no_plugin(path: Path) -> None:
    names = imports(path)
    assert not {name for name in names if name.split(".")[0] in ("upstream", "downstream", "tests")}
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    own = floor(module)
    for name in ours(names):
        assert room(name) == room(module) or floor(name) < own, f"{module} (floor {own}) imports {name} (floor {floor(name)})"


def test_every_module_lies_in_a_room() -> None:
    rooms = {name for names in FLOORS for name in names}
    assert {room(name) for name in modules()} == rooms


@pytest.mark.slow
def test_modules_import_each_other_in_no_circle() -> None:
    """Imports for type checkers are left out, as is what a package hands on to its own modules."""
    arrows = {name: {other for other in ours(imports(path)) if other != name} for name, path in modules().items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join([*way[way.index(name) :], name])
        if name in done:
            return
        for other in sorted(arrows[name]):
            if not f"{name}.".startswith(f"{other}."):  # every module imports the packages that it lies in
                visit(other, (*way, name))
        done.add(name)

    for name in sorted(arrows):
        visit(name, ())


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["upstream", "downstream"])
def test_built_in_plugins_use_only_the_public_names_and_never_each_other(folder: str) -> None:
    other = {"upstream": "downstream", "downstream": "upstream"}[folder]
    for path in python_files(folder):
        for name in imports(path):
            top = name.split(".")[0]
            assert top != other, f"{path} imports {name}"
            if top == "superbench" and name != "superbench":
                assert name.removeprefix("superbench.") in superbench.__all__, f"{path} imports {name}, which is not public"
            if top == folder and path.parent.name == folder:
                assert name.split(".")[1:2] in ([], ["shared"]), f"{path} imports {name}"


@pytest.mark.slow
def test_records_of_many_fields_are_filled_by_keyword() -> None:
    trees = {path: parsed(path) for folder in PRODUCT for path in python_files(folder)}
    classes = [node for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    fields = {name: set[int]() for name in records(classes)}
    for node in classes:
        if node.name in fields:
            fields[node.name].add(sum(isinstance(line, ast.AnnAssign) for line in node.body))
    found = []
    for path, tree in trees.items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = last_name(call.func)
            starred = any(isinstance(argument, ast.Starred) for argument in call.args)
            if name in fields and (len(call.args) > POSITIONAL or (starred and max(fields[name]) > POSITIONAL)):
                found.append(f"{path.relative_to(ROOT)}:{call.lineno}: {name}")
    assert found == []


def records(classes: list[ast.ClassDef]) -> set[str]:
    """Names of the dataclasses and named tuples among `classes`, and of the classes that inherit from one."""
    named: set[str] = set()
    while True:
        more = {
            node.name
            for node in classes
            if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
            or {"NamedTuple", *named} & {last_name(base) for base in node.bases}
        }
        if more <= named:
            return named
        named |= more


def last_name(node: ast.expr) -> str:
    """`Score` of `Score`, of `superbench.Score` and of `Score[int]`."""
    return ast.unparse(node.value if isinstance(node, ast.Subscript) else node).rpartition(".")[2]


def test_every_plugin_file_has_an_entry_point() -> None:
    points = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    named = {value.partition(":")[0] for group in points if group != "superbench.names" for value in points[group].values()}
    files = {f"{folder}.{path.stem}" for folder in ("upstream", "downstream") for path in (ROOT / folder).glob("[!_]*.py")}
    assert files == named


def test_every_file_that_is_no_module_is_named_as_data_of_its_package() -> None:
    """Else a wheel goes without it."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for folder in ("superbench", "upstream", "downstream"):
        packed = {path for pattern in patterns.get(folder, ()) for path in (ROOT / folder).glob(pattern)}
        files = {path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert {path for path in files if path.suffix != ".py"} <= packed, folder


def test_the_public_names_are_sorted_and_load() -> None:
    names = list(superbench.__all__)
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))  # as isort sorts
    for name in superbench.__all__:
        assert getattr(superbench, name) is not None


def test_files_stay_readable() -> None:
    files = [path for folder in PRODUCT for path in python_files(folder)]
    long = {str(path): len(path.read_text().splitlines()) for path in files}
    assert {path: lines for path, lines in long.items() if lines > LONGEST_FILE} == {}


@pytest.mark.slow
def test_functions_stay_readable() -> None:
    found = {}
    for path in (path for folder in PRODUCT for path in python_files(folder)):
        for node in ast.walk(parsed(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found[f"{path.relative_to(ROOT)}: {node.name}"] = (node.end_lineno or 0) - node.lineno + 1
    assert {name: lines for name, lines in found.items() if lines > LONGEST_FUNCTION} == {}


# ---------------------------------------------------------------- tests


def private(name: str) -> bool:
    """`_index`, and neither `__init__` nor `_repr_html_`, which somebody else's protocol names."""
    return name.startswith("_") and not name.endswith("_")


def private_names(tree: ast.AST) -> set[str]:
    """The private functions, classes, attributes and variables that a file defines."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(node.name)
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
    return {name for name in found if private(name)}


def uses_of_private_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Lines and private names that are imported, are attributes (of `self`: if the file does not define them), or are given to
    `setattr` and its like (`patch.setattr("package.module._name", ...)` too)."""
    defined_here = private_names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(names=aliases):
                yield from ((node.lineno, alias.name) for alias in aliases)
            case ast.Attribute(value=ast.Name(id="self" | "cls"), attr=name) if name in defined_here:
                pass
            case ast.Attribute(attr=name):
                yield node.lineno, name
            case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called), args=given) if called in ACCESSORS:
                texts = [part.value for part in given[:2] if isinstance(part, ast.Constant) and isinstance(part.value, str)]
                yield from ((node.lineno, text.rpartition(".")[2]) for text in texts)


@pytest.mark.slow
def test_tests_use_no_private_name_of_the_product() -> None:
    """Names of other packages are theirs to keep private: where a reference implementation has no public way, there is none."""
    ours = set().union(*(private_names(parsed(path)) for folder in PRODUCT for path in python_files(folder)))
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path in python_files("tests")
        for line, name in uses_of_private_names(parsed(path))
        if name in ours
    ]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "from superbench.features.store.store import _index", "store._index.rows()", "Store(root)._index = 1",
        "setattr(store, '_index', 1)", "patch.setattr('superbench.features.store.store._index', 1)", "getattr(store, '_index')",
        "patch.delattr(store, '_index')", "class Mine(Store):\n    def rows(self): return self._index.rows()",
    ],
)  # fmt: skip
def test_a_use_of_a_private_name_is_found(text: str) -> None:
    assert "_index" in {name for _, name in uses_of_private_names(ast.parse(text))}
    assert private("_index")
