"""A revision covers every file that a model imports or opens, and its libraries."""

from __future__ import annotations

import importlib
import json
import os
import py_compile
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import doubles
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from superbench import plugins
from superbench.errors import BadUpstream, BrokenPlugin
from superbench.plugins.reference_outputs import confirm
from superbench.system.background import in_child
from superbench.system.progress import Silence

pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # the models here are third-party code

MODEL = """
import torch
from torch import nn
from superbench import Features
{imports}

class Net(nn.Module):
    sample_rate, hop, layers, dim = 16_000, 320, 1, 161

    def __init__(self):
        super().__init__()
        {build}

    def forward(self, waves, lengths):
        cut = torch.nn.functional.pad(waves, (0, 319)).unfold(1, 320, 320)
        return Features((torch.fft.rfft(cut).abs() * {gain})[None], (lengths + 319) // 320)
"""


def model(folder: Path, imports: str = "", build: str = "pass", gain: str = "1") -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(MODEL.format(imports=imports, build=build, gain=gain))
    return f"{folder / 'mine.py'}:Net"


def revision(spec: str) -> str:
    return plugins.upstream(plugins.parse(spec)).revision


def loudness(spec: str) -> float:
    return doubles.revision_and_loudness(spec)[1]


def written(text: Callable[[int], str]) -> Callable[[Path, int], None]:
    return lambda path, value: path.write_text(text(value))


def array(path: Path, value: int) -> None:
    np.save(path, np.full(3, value))


def tensor(path: Path, value: int) -> None:
    torch.save({"gain": torch.tensor(value)}, path)


HERE = "pathlib.Path(__file__).parent"
GAIN = written("GAIN = {}".format)


@dataclass(frozen=True)
class Change:
    """A file that changes: how it is written, what the model's file imports, what the class does when it is built, its gain."""

    file: str
    write: Callable[[Path, int], None]
    imports: str = ""
    build: str = "pass"
    gain: str = "self.gain"


CHANGES = {
    "a sibling module": Change("helper.py", GAIN, "import helper", gain="helper.GAIN"),
    "a constant of a sibling": Change("helper.py", GAIN, "from helper import GAIN", gain="GAIN"),
    "a module that a sibling imports": Change("deep.py", GAIN, "from middle import GAIN", gain="GAIN"),
    "a module of a package beside": Change("parts/blocks.py", GAIN, "from parts.blocks import GAIN", gain="GAIN"),
    "a folder without __init__": Change("plain/blocks.py", GAIN, "import plain.blocks", gain="plain.blocks.GAIN"),
    "a namespace in a namespace, imported late": Change(
        "far/away/blocks.py", GAIN, build="import far.away.blocks; self.gain = far.away.blocks.GAIN"
    ),
    "a module imported late": Change("late.py", GAIN, build="import late; self.gain = late.GAIN"),
    "a module imported by its name": Change(
        "named.py", GAIN, "import importlib", "self.gain = importlib.import_module('named').GAIN"
    ),
    "a json file": Change(
        "gain.json",
        written("[{}]".format),
        "import json, pathlib",
        f"self.gain = json.loads(({HERE} / 'gain.json').read_text())[0]",
    ),
    "an array": Change("gain.npy", array, "import numpy, pathlib", f"self.gain = float(numpy.load({HERE} / 'gain.npy')[0])"),
    "a mapped array": Change(
        "gain.npy", array, "import numpy, pathlib", f"self.gain = float(numpy.load({HERE} / 'gain.npy', mmap_mode='r')[0])"
    ),
    "weights that are no parameters": Change(
        "gain.pt", tensor, "import torch, pathlib", f"self.gain = float(torch.load({HERE} / 'gain.pt')['gain'])"
    ),
    "a file opened at import": Change(
        "gain.txt", written(str), f"import pathlib\nGAIN = float(open({HERE} / 'gain.txt').read())", gain="GAIN"
    ),
    "a file opened by a sibling": Change("gain.txt", written(str), "from reader import GAIN", gain="GAIN"),
    "code that is executed": Change("code.txt", GAIN, f"import pathlib\nexec(({HERE} / 'code.txt').read_text())", gain="GAIN"),
    "a file opened without Python's open": Change(
        "gain.bin", written(str), "import os, pathlib", f"self.gain = float(os.read(os.open({HERE} / 'gain.bin', 0), 9))"
    ),
}


def prepared(folder: Path, change_name: str) -> tuple[str, Path, Callable[[Path, int], None]]:
    change = CHANGES[change_name]
    spec = model(folder, change.imports, change.build, change.gain)
    (folder / change.file).parent.mkdir(parents=True, exist_ok=True)
    (folder / "parts").mkdir(exist_ok=True)
    (folder / "parts" / "__init__.py").touch()
    (folder / "middle.py").write_text("from deep import GAIN\n")
    (folder / "reader.py").write_text(f"import pathlib\nGAIN = float(({HERE} / 'gain.txt').read_text())\n")
    for name in ("deep.py", "gain.txt"):
        (folder / name).write_text("GAIN = 1" if name == "deep.py" else "1")
    return spec, folder / change.file, change.write


@pytest.mark.slow
@pytest.mark.parametrize("change_name", CHANGES)
def test_a_change_of_any_source_changes_the_revision_and_the_features(tmp_path: Path, change_name: str) -> None:
    spec, file, write = prepared(tmp_path, change_name)
    seen = []
    for value in (1, 2, 1):
        write(file, value)
        seen.append((revision(spec), loudness(spec)))
    assert seen[0] == seen[2]
    assert seen[0][0] != seen[1][0]
    assert seen[1][1] == pytest.approx(2 * seen[0][1])
    assert revision(spec) == seen[0][0]  # again in this process: modules imported before still count


@pytest.mark.parametrize(
    "change_name", ["a sibling module", "a module imported by its name", "a file opened by a sibling", "an array"]
)
@pytest.mark.slow
def test_another_process_computes_the_same_revision(tmp_path: Path, change_name: str) -> None:
    spec, file, write = prepared(tmp_path, change_name)
    write(file, 1)
    code = f"from superbench import plugins; print(plugins.upstream(plugins.parse({spec!r})).revision)"
    finished = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert finished.stdout.strip() == revision(spec)


@pytest.mark.slow
def test_the_path_of_a_project_does_not_change_its_revision(tmp_path: Path) -> None:
    seen = set()
    for name in ("one", "two"):
        spec, file, write = prepared(tmp_path / name, "a file opened by a sibling")
        write(file, 1)
        seen.add(revision(spec))
    assert len(seen) == 1


@pytest.mark.slow
def test_two_models_import_their_own_siblings_of_one_name(tmp_path: Path) -> None:
    specs = []
    for gain in (1, 3):
        folder = tmp_path / f"project{gain}"
        specs.append(model(folder, "import helper", gain="helper.GAIN"))
        (folder / "helper.py").write_text(f"GAIN = {gain}\n")
    for _ in range(2):
        assert loudness(specs[1]) == pytest.approx(3 * loudness(specs[0]))
    assert revision(specs[0]) != revision(specs[1])


@pytest.mark.slow
def test_a_changed_sibling_of_the_same_size_and_date_changes_the_revision(tmp_path: Path) -> None:
    spec, file, write = prepared(tmp_path, "a sibling module")
    write(file, 1)
    before = revision(spec), loudness(spec)
    rewritten(file, "GAIN = 2")
    assert revision(spec) != before[0]
    assert loudness(spec) == pytest.approx(2 * before[1])


def fresh(spec: str) -> tuple[str, float]:
    """Revision and loudness of a model in a process that has loaded the libraries, and no model."""
    return in_child(partial(doubles.revision_and_loudness, spec), Silence(), spec)


def from_nothing(spec: str) -> tuple[str, float]:
    """The same in a new interpreter, which has loaded no library either."""
    code = f"""
import torch
from superbench import plugins
loaded = plugins.upstream(plugins.parse({spec!r}))
print(loaded.revision, float(loaded.model(torch.ones(1, 3200), torch.tensor([3200])).frames.sum()))
"""
    text = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    return text[0], float(text[1])


def rewritten(file: Path, text: str) -> None:
    """Other text of the same size and date, for which Python's bytecode cache would use the former bytecode."""
    stamp = file.stat()
    file.write_text(text)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert file.stat().st_size == stamp.st_size


def compiled(file: Path) -> None:
    py_compile.compile(str(file))


LATE = MODEL.replace("        cut =", "        import helper\n        cut =")


@pytest.mark.slow
@pytest.mark.parametrize("text", [MODEL, LATE], ids=["at import", "when it is called"])
def test_bytecode_of_a_sibling_is_never_used(tmp_path: Path, text: str) -> None:
    at_import = "import helper" if text is MODEL else ""
    (tmp_path / "mine.py").write_text(text.format(imports=at_import, build="pass", gain="helper.GAIN"))
    spec, helper = f"{tmp_path / 'mine.py'}:Net", tmp_path / "helper.py"
    helper.write_text("GAIN = 1\n")
    compiled(helper)
    before = fresh(spec)
    rewritten(helper, "GAIN = 2\n")
    after = fresh(spec)
    assert after[0] != before[0]
    assert after[1] == pytest.approx(2 * before[1])


@pytest.mark.slow
@pytest.mark.parametrize("text", [MODEL, LATE], ids=["at import", "when it is called"])
def test_a_module_that_the_script_had_imported_before_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    at_import = "import helper" if text is MODEL else ""
    (tmp_path / "mine.py").write_text(text.format(imports=at_import, build="pass", gain="helper.GAIN"))
    spec, helper = f"{tmp_path / 'mine.py'}:Net", tmp_path / "helper.py"
    helper.write_text("GAIN = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    module = importlib.import_module("helper")
    try:
        for value in (2, 3):
            rewritten(helper, f"GAIN = {value}\n")
            assert (revision(spec), loudness(spec)) == fresh(spec)
        assert module.GAIN == 1  # references to the module keep the former one
    finally:
        sys.modules.pop("helper", None)


@pytest.mark.slow
def test_the_revision_does_not_depend_on_an_earlier_loading_of_the_model(tmp_path: Path) -> None:
    np.save(tmp_path / "gain.npy", np.ones(3))
    spec = model(tmp_path, f"import numpy, pathlib\nGAIN = float(numpy.load({HERE} / 'gain.npy')[0])", gain="GAIN")
    plugins.plugin(plugins.parse(spec))  # as `run` does before its workers start
    assert revision(spec) == fresh(spec)[0]


SHARED = {
    "a dynamic import": ("import importlib\nhelper = importlib.import_module('hel' + 'per')", "helper.GAIN"),
    "a cached file": ("from keeper import gain", "gain()"),
}


@pytest.mark.slow
@pytest.mark.parametrize("change_name", SHARED)
def test_files_that_another_model_has_read_already_count_for_the_next(tmp_path: Path, change_name: str) -> None:
    imports, gain = SHARED[change_name]
    (tmp_path / "helper.py").write_text("GAIN = 1\n")
    (tmp_path / "gain.txt").write_text("1\n")
    (tmp_path / "keeper.py").write_text(
        "import functools, pathlib\n\n@functools.lru_cache\ndef gain():\n"
        "    return float((pathlib.Path(__file__).parent / 'gain.txt').read_text())\n"
    )
    first = model(tmp_path, imports, f"self.gain = {gain}", "self.gain")
    (tmp_path / "other.py").write_text((tmp_path / "mine.py").read_text() + "\n# another\n")
    second = first.replace("mine.py", "other.py")
    alone = fresh(second)[0]
    assert revision(first) == fresh(first)[0]
    assert revision(second) == alone
    for file, text in (("helper.py", "GAIN = 2\n"), ("gain.txt", "2\n")):
        rewritten(tmp_path / file, text)
    assert revision(second) != alone


@pytest.mark.slow
def test_a_sibling_with_the_name_of_a_module_of_python_counts(tmp_path: Path) -> None:
    spec = model(tmp_path, "from stringprep import GAIN", gain="GAIN")
    seen = []
    for value in (1, 2):
        (tmp_path / "stringprep.py").write_text(f"GAIN = {value}\n")
        seen.append(from_nothing(spec))  # a library may have imported Python's own module already
    assert seen[0][0] != seen[1][0]
    assert seen[1][1] == pytest.approx(2 * seen[0][1])


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["r+b", "rb"])
def test_a_file_opened_for_reading_and_writing_counts_as_read(tmp_path: Path, mode: str) -> None:
    (tmp_path / "gain.txt").write_text("1")
    spec = model(tmp_path, "import pathlib", f"self.gain = float(open({HERE} / 'gain.txt', {mode!r}).read())", "self.gain")
    before = revision(spec)
    (tmp_path / "gain.txt").write_text("2")
    assert revision(spec) != before


def test_a_file_that_a_model_writes_does_not_count(tmp_path: Path) -> None:
    log = "with open(__file__ + '.log', 'a') as f: f.write('built')"
    spec = model(tmp_path, build=log + "\n        self.seen = open(__file__ + '.log').read()")
    assert revision(spec) == revision(spec)


@pytest.mark.slow
def test_relative_imports_of_a_package_work(tmp_path: Path) -> None:
    package = tmp_path / "lab" / "models"
    spec = model(package, "from .blocks import GAIN\nfrom ..numbers import MORE", gain="GAIN * MORE")
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "blocks.py").write_text("GAIN = 2\n")
    (package.parent / "numbers.py").write_text("MORE = 3\n")
    before = loudness(spec), revision(spec)
    (package.parent / "numbers.py").write_text("MORE = 6\n")
    assert loudness(spec) == pytest.approx(2 * before[0])
    assert revision(spec) != before[1]


def test_another_version_of_a_library_is_another_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "site-packages"
    facts = place / "gainlib-1.dist-info"
    facts.mkdir(parents=True)
    (place / "gainlib.py").write_text("GAIN = 1\n")
    monkeypatch.syspath_prepend(place)
    spec = model(tmp_path / "project", "import gainlib", gain="gainlib.GAIN")
    seen = []
    for version in ("1.0", "1.1"):
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: gainlib\nVersion: {version}\n")
        loaded = plugins.upstream(plugins.parse(spec))
        assert f"gainlib {version}" in loaded.libraries
        seen.append(loaded.revision)
    assert seen[0] != seen[1]


def test_the_revision_of_a_built_in_model_does_not_depend_on_the_machine() -> None:
    loaded = plugins.upstream(plugins.parse("fbank"))
    assert any(library.startswith("torch ") for library in loaded.libraries)
    from superbench.plugins.sources import Sources

    older = plugins.loaded(loaded.spec, loaded.model, "cpu", Sources(libraries=("torch 1.0",)), built_in=True)
    newer = plugins.loaded(loaded.spec, loaded.model, "cpu", Sources(libraries=("torch 2.0",)), built_in=True)
    assert older.revision == newer.revision


@pytest.mark.slow
def test_the_revision_of_an_installed_plugin_depends_on_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model(tmp_path, "import plugin_helper", gain="plugin_helper.GAIN")
    (tmp_path / "mine.py").rename(tmp_path / "plugin_model.py")
    facts = tmp_path / "superbench_mine-1.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: superbench-mine\nVersion: 1\n")
    (facts / "entry_points.txt").write_text("[superbench.upstreams]\nmine = plugin_model:Net\n")
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    helper = tmp_path / "plugin_helper.py"
    for value in (1, 2, 1):
        helper.write_text("GAIN = 0\n")
        compiled(helper)
        rewritten(helper, f"GAIN = {value}\n")
        plugins.plugin(plugins.parse("mine"))
        seen.append((revision("mine"), loudness("mine")))
    assert seen[0] == seen[2]
    assert seen[0][0] != seen[1][0]
    assert seen[1][1] == pytest.approx(2 * seen[0][1])


def test_imports_within_functions_are_found_in_the_text(tmp_path: Path) -> None:
    (tmp_path / "space" / "within").mkdir(parents=True)
    model(tmp_path, "def never():\n    import space.within.blocks\n    from nowhere.at_all import nothing")
    seen = []
    for value in (1, 2):
        (tmp_path / "space" / "within" / "blocks.py").write_text(f"GAIN = {value}\n")
        seen.append(revision(f"{tmp_path / 'mine.py'}:Net"))
    assert seen[0] != seen[1]


def test_a_failing_sibling_of_a_model_is_named(tmp_path: Path) -> None:
    spec = model(tmp_path, "import helper")
    (tmp_path / "helper.py").write_text("raise RuntimeError('no table')\n")
    with pytest.raises(BrokenPlugin, match="RuntimeError: no table"):
        revision(spec)


# ---------------------------------------------------------------- changes that no digest covers


def hidden(folder: Path) -> tuple[str, Path]:
    """A model that reads its gain whenever it is called, which no hook records."""
    gain = folder / "gain.safetensors"
    imports = "from safetensors.torch import load_file"
    return model(folder, imports, f"self.file = {str(gain)!r}", "load_file(self.file)['gain']"), gain


def put(gain: Path, value: float) -> None:
    save_file({"gain": torch.tensor([value])}, gain)


@pytest.mark.slow
def test_a_change_that_no_digest_covers_is_found_in_the_outputs(tmp_path: Path) -> None:
    spec, gain = hidden(tmp_path / "project")
    put(gain, 1.0)
    loaded = plugins.upstream(plugins.parse(spec))
    recorded, changed = confirm(loaded, "cpu", tmp_path / "outputs")
    assert not changed
    assert confirm(loaded, "cpu", tmp_path / "outputs") == (recorded, False)
    put(gain, 1.0 + 5e-5)  # as much as another order of summation can change
    confirm(loaded, "cpu", tmp_path / "outputs")
    put(gain, 1.001)
    same = plugins.upstream(plugins.parse(spec))
    assert same.revision == loaded.revision
    with pytest.raises(BadUpstream, match=r"differ by 0\.001 of their largest value.*--redo"):
        confirm(same, "cpu", tmp_path / "outputs")
    measured, changed = confirm(same, "cpu", tmp_path / "outputs", redo=True)
    assert changed
    assert measured.contradict(recorded.facts())
    assert confirm(same, "cpu", tmp_path / "outputs") == (measured, False)


def test_outputs_of_other_versions_and_damaged_ones_are_ignored(tmp_path: Path) -> None:
    spec, gain = hidden(tmp_path / "project")
    put(gain, 1.0)
    loaded = plugins.upstream(plugins.parse(spec))
    recorded, _ = confirm(loaded, "cpu", tmp_path / "outputs")
    (kept,) = (tmp_path / "outputs").glob("*.safetensors")
    data = bytearray(kept.read_bytes())
    data[-5] ^= 64
    kept.write_bytes(data)
    measured, changed = confirm(loaded, "cpu", tmp_path / "outputs")
    assert not changed
    assert measured.facts() == recorded.facts()
    assert measured.since > recorded.since  # the model of older features cannot be compared any more
    assert not recorded.contradict({"setting": "another", "values": [0.0] * len(recorded.values)})
    assert not recorded.contradict(None)
    assert recorded.contradict(json.loads(json.dumps(recorded.facts() | {"values": [2 * v for v in recorded.values]})))


BIG = """
import os
import torch
from superbench import Features

def big(waves, lengths):
    cut = torch.nn.functional.pad(waves, (0, 319)).unfold(1, 320, 320)
    draws = torch.Generator().manual_seed(int(os.environ["SEED_OF_BIG"]))
    small = torch.fft.rfft(cut).abs()[..., :40] @ torch.randn(40, 40, generator=draws)
    return Features(torch.cat([small, torch.full_like(small[..., :1], 1e6)], -1)[None], (lengths + 319) // 320)
"""


def test_one_huge_dimension_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big.py").write_text(BIG)
    spec = f"{tmp_path / 'big.py'}:big"
    monkeypatch.setenv("SEED_OF_BIG", "1")
    confirm(plugins.upstream(plugins.parse(spec)), "cpu", tmp_path / "outputs")
    monkeypatch.setenv("SEED_OF_BIG", "2")
    with pytest.raises(BadUpstream, match="random numbers"):
        confirm(plugins.upstream(plugins.parse(spec)), "cpu", tmp_path / "outputs")


@pytest.mark.slow
def test_changes_of_small_values_are_found_in_the_mean(tmp_path: Path) -> None:
    spec = model(tmp_path, build="pass", gain="1")
    loaded = plugins.upstream(plugins.parse(spec))
    confirm(loaded, "cpu", tmp_path / "outputs")
    spec = model(tmp_path, build="pass", gain="1")
    (tmp_path / "mine.py").write_text((tmp_path / "mine.py").read_text().replace("abs() * 1", "abs().clamp(min=0.02) * 1"))
    changed = plugins.upstream(plugins.parse(spec))
    assert changed.revision != loaded.revision
    object.__setattr__(changed, "revision", loaded.revision)  # as if the digest had not changed
    with pytest.raises(BadUpstream, match="--redo"):
        confirm(changed, "cpu", tmp_path / "outputs")


def test_a_lazy_module_is_named(tmp_path: Path) -> None:
    spec = model(tmp_path, build="self.head = nn.LazyLinear(3)")
    with pytest.raises(BrokenPlugin, match=r"'head\.weight' has no value yet"):
        plugins.upstream(plugins.parse(spec))
