"""Names of upstreams: how they are resolved, and errors for unknown ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from superbench import CommandError, plugins
from superbench.errors import BrokenPlugin, UnknownName
from superbench.plugins.revision import revision

PLUGIN = Path(__file__).parents[2] / "plugin" / "superbench_tones.py"


@pytest.mark.slow
def test_a_file_and_a_class_name_an_upstream() -> None:
    loaded = plugins.upstream(plugins.parse(f"{PLUGIN}:Spectrum"))
    assert (loaded.alias, loaded.hop, loaded.layers, loaded.dim) == ("Spectrum", 320, 2, 17)
    assert plugins.upstream(plugins.parse(f"mine={PLUGIN}:Spectrum")).alias == "mine"


@pytest.mark.parametrize(
    ("text", "alias", "hub", "name", "options", "file"),
    [
        ("apc", "apc", None, "apc", (), None),
        ("apc:base,untrained,seed=3", "apc:base,untrained,seed=3", None, "apc", ("base", "untrained", "seed=3"), None),
        ("apc@a/b.safetensors", "apc", None, "apc", (), Path("a/b.safetensors")),
        ("mine=apc@a=b.safetensors", "mine", None, "apc", (), Path("a=b.safetensors")),
        ("hf/facebook/hubert:main", "hf/facebook/hubert:main", "hf", "facebook/hubert:main", (), None),
        ("hf//tmp/model", "hf/model", "hf", "/tmp/model", (), None),
        ("m.py:Net@ckpts/a.pt", "Net", None, "m.py:Net", (), Path("ckpts/a.pt")),
        ("m.py:Net:layers=6,skip=true@a.pt", "Net", None, "m.py:Net", ("layers=6", "skip=true"), Path("a.pt")),
        ("mine=d/m.py:Net:layers=6", "mine", None, "d/m.py:Net", ("layers=6",), None),
        ("torchaudio/hubert_base@w.pt", "torchaudio/hubert_base", "torchaudio", "hubert_base", (), Path("w.pt")),
    ],
)
def test_specs_are_parsed(text: str, alias: str, hub: str, name: str, options: tuple, file: Path) -> None:
    spec = plugins.parse(text)
    assert (spec.alias, spec.hub, spec.name, spec.options, spec.file) == (alias, hub, name, options, file)


def test_folder_names_are_safe() -> None:
    assert plugins.parse("apc:base,untrained").folder == "apc_base_untrained"


def test_two_upstreams_of_one_name_need_an_alias() -> None:
    with pytest.raises(CommandError, match="alias"):
        plugins.specs(["apc@a.safetensors", "apc@b.safetensors"])
    assert [spec.alias for spec in plugins.specs(["apc@a.safetensors", "b=apc@b.safetensors"])] == ["apc", "b"]


def test_a_pattern_stands_for_every_checkpoint_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (2, 10, 100):
        (tmp_path / f"step{number}.pt").write_text("")
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "net.pt").write_text("")
    aliases = [spec.alias for spec in plugins.specs([f"apc@{tmp_path}/step*.pt"])]
    assert aliases == ["apc-step2", "apc-step10", "apc-step100"]
    first = plugins.specs([f"mine=m.py:Net:layers=6@{tmp_path}/step*.pt"])[0]
    assert (first.alias, first.options, first.file) == ("mine-step2", ("layers=6",), tmp_path / "step2.pt")
    assert plugins.parse(first.text) == first  # a worker reads the text again
    assert [spec.alias for spec in plugins.specs([f"hf/{tmp_path}/[12]*"])][:1] == ["hf-2"]
    assert [spec.alias for spec in plugins.specs([f"apc@{tmp_path}/*/net.pt"])] == [
        "apc-2-net.pt",
        "apc-10-net.pt",
        "apc-100-net.pt",
    ]
    with pytest.raises(CommandError, match="no file matches"):
        plugins.specs([f"apc@{tmp_path}/epoch*.pt"])


def test_unknown_names_suggest_similar_ones() -> None:
    with pytest.raises(UnknownName, match="Did you mean fbank"):
        plugins.upstream(plugins.parse("fbnk"))
    with pytest.raises(UnknownName, match="superbench list tasks"):
        plugins.task("karaoke")


@pytest.mark.slow
def test_a_file_that_is_missing_broken_or_without_the_class_says_so(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="does not exist"):
        plugins.upstream(plugins.parse(f"{tmp_path}/none.py:X"))
    broken = tmp_path / "broken.py"
    broken.write_text("import nothing_like_this\n")
    with pytest.raises(BrokenPlugin, match="nothing_like_this"):
        plugins.upstream(plugins.parse(f"{broken}:X"))
    with pytest.raises(CommandError, match="Spectrum"):
        plugins.upstream(plugins.parse(f"{PLUGIN}:Spektrum"))
    hollow = tmp_path / "hollow.py"
    hollow.write_text("class Hollow:\n    hop = 160\n")
    with pytest.raises(BrokenPlugin, match="lacks sample_rate, layers, dim"):
        plugins.upstream(plugins.parse(f"{hollow}:Hollow"))


def test_a_trainable_upstream_without_weights_says_how_to_get_some() -> None:
    with pytest.raises(CommandError, match="superbench pretrain apc"):
        plugins.upstream(plugins.parse("apc"))
    with pytest.raises(CommandError, match="the options of"):
        plugins.upstream(plugins.parse("apc:huge,untrained"))
    with pytest.raises(CommandError, match="has no value"):
        plugins.upstream(plugins.parse("fbank:untrained"))


def test_an_untrained_control_depends_on_its_seed_alone() -> None:
    first, repeated, other_seed = (plugins.upstream(plugins.parse(f"apc:untrained,seed={seed}")).revision for seed in (1, 1, 2))
    assert first == repeated != other_seed


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from superbench import plugins; rows = plugins.listed(plugins.UPSTREAMS); "
        "assert {'fbank', 'apc', 'tera'} <= {row.name for row in rows}, rows; assert all(row.line for row in rows); "
        "heavy = {'torch', 'numpy', 's3prl', 'upstream.apc'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("hub", "name", "says"),
    [("hf", "./FOLDER", "save_pretrained"), ("fairseq", "FILE.pt", "HuBERT"), ("hear", "MODULE@FILE", "weights"),
     ("onnx", "FILE.onnx", "onnxruntime"), ("hf-lm", "ID", "anguage models"), ("speechbrain", "./FOLDER", "is code that runs"),
     ("espnet", "(none)", "cannot be read")],
)  # fmt: skip
def test_hubs_without_a_list_say_how_to_write_their_names(hub: str, name: str, says: str) -> None:
    assert says in {row.name: row.kind for row in plugins.offered(hub)}[name]


@pytest.mark.parametrize("hub", ["torchaudio", "s3prl"])
def test_names_of_a_hub_are_read_without_importing_it(hub: str) -> None:
    code = (
        f"import sys; from upstream.shared import hub_names; names = hub_names.{hub}(); "
        "assert len(names) >= 30 and all(names.values()), names; "
        "heavy = {'torch', 'numpy', 's3prl', 'torchaudio'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Lazy(ModuleType):
    """A module that imports another one as soon as it is asked for an attribute, as speechbrain has them."""

    def __getattr__(self, name: str) -> object:
        raise ImportError(f"{self.__name__}.{name} needs a package that is not installed")


def test_lazy_modules_of_other_packages_are_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "a_lazy_module", Lazy("a_lazy_module"))
    assert plugins.upstream(plugins.parse("fbank")).hop == 160


@pytest.mark.slow
def test_names_of_the_torchaudio_hub_are_its_bundles() -> None:
    from upstream.from_torchaudio import bundles
    from upstream.shared.hub_names import torchaudio

    assert set(torchaudio()) == set(bundles())


FUNCTION = """
import torch
from superbench import Features

GAIN = {gain}

def loudness(waves, lengths):
    pieces = torch.nn.functional.pad(waves, (0, 159)).unfold(1, 160, 160)
    return Features(pieces.abs().mean(-1)[None, ..., None] * GAIN, (lengths + 159) // 160)

def odd(waves, lengths):
    return Features(waves[None, :, ::6857, None], (lengths + 6856) // 6857)

odd.hop = 6857

def undeclared(waves, lengths):
    return odd(waves, lengths)

def tensor(waves, lengths):
    return waves

def broken(waves, lengths):
    raise RuntimeError("no weights here")

class Loudness:
    sample_rate, hop, layers, dim = 16000, 160, 1, 1

    def __call__(self, waves, lengths):
        return loudness(waves, lengths)

READY = Loudness()
"""


@pytest.mark.slow
def test_what_a_plain_function_does_not_declare_is_measured(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(FUNCTION.format(gain=1))
    loaded = plugins.upstream(plugins.parse(f"{file}:loudness"))
    assert (loaded.alias, loaded.hop, loaded.layers, loaded.dim) == ("loudness", 160, 1, 1)
    assert plugins.upstream(plugins.parse(f"{file}:odd")).hop == 6857
    with pytest.raises(BrokenPlugin, match=r"undeclared\.hop = 320"):
        plugins.upstream(plugins.parse(f"{file}:undeclared"))
    with pytest.raises(BrokenPlugin, match=r"returned Tensor.*\(layer, batch, time, dim\)"):
        plugins.upstream(plugins.parse(f"{file}:tensor"))
    with pytest.raises(BrokenPlugin, match=r"raised RuntimeError: no weights here\. .* waves \(batch, samples\)"):
        plugins.upstream(plugins.parse(f"{file}:broken"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["loudness", "Loudness", "READY"])
def test_a_changed_file_is_another_revision(tmp_path: Path, name: str) -> None:
    file = tmp_path / "mine.py"

    def revision(gain: int) -> str:
        file.write_text(FUNCTION.format(gain=gain))
        return plugins.upstream(plugins.parse(f"{file}:{name}")).revision

    assert revision(1) == revision(1) != revision(2)


def test_classes_and_functions_are_named_by_their_file() -> None:
    from superbench.plugins import model_files

    assert model_files.text("fbank") == "fbank"
    assert model_files.text(plugins.Listed).endswith("superbench/plugins/names.py:Listed")
    with pytest.raises(CommandError, match="at the top level of its file"):
        model_files.text(lambda waves, lengths: waves)


def test_weights_of_any_type_and_shape_make_a_revision() -> None:
    model = nn.Module()
    for name, dtype in (("brain", torch.bfloat16), ("whole", torch.int64), ("yes", torch.bool)):
        model.register_buffer(name, torch.ones(3, 2, dtype=dtype).T)
    model.register_buffer("one", torch.tensor(1.0))
    model.register_buffer("none", torch.empty(0))
    before = revision(model)
    model.brain[1, 2] = 2
    assert revision(model) != before
    assert revision(nn.Module()) == revision(nn.Module())


@pytest.mark.slow
def test_models_of_one_file_have_different_revisions() -> None:
    names = ["fbank", "fbank_no_cmvn", "apc:untrained", "apc:untrained,seed=1", "tera:untrained"]
    revisions = {plugins.upstream(plugins.parse(name)).revision for name in names}
    assert len(revisions) == len(names)
    assert plugins.upstream(plugins.parse("fbank")).revision in revisions
