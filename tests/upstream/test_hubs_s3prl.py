"""S3PRL through its adapter: features equal those of its own experts, family by family; errors for families that fail."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import logging
import re
import runpy
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn

from superbench import BadCheckpoint, CommandError, SuperbenchError, plugins
from superbench.plugins.doctor.examination import examine
from upstream import from_s3prl
from upstream.from_s3prl import S3prlModel

pytestmark = pytest.mark.parity

CHECKPOINTS = runpy.run_path(str(Path(__file__).with_name("s3prl_checkpoints.py")))
apc, MAKERS = CHECKPOINTS["apc"], CHECKPOINTS["MAKERS"]
WITH_EXPRESSIONS = ("hubert", "wav2vec2", "data2vec", "wavlm", "unispeech_sat", "distilhubert", "multires_hubert_base")
WITHOUT_WEIGHTS = ("fbank", "fbank_no_cmvn", "mfcc", "mel", "linear", "spectrogram")
TABLE = Path(__file__).parents[2] / "docs" / "upstreams.md"


def sound() -> list[Tensor]:
    """Two sounds of different length."""
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(length, generator=generator) * 0.1 + 0.01 for length in (9000, 24_000)]


def assert_equal_to_expert(model: S3prlModel, direct: Any) -> None:
    """Compare the features of each sound in a batch of two with those of the expert on that sound alone."""
    waves = sound()
    lengths = torch.tensor([len(wave) for wave in waves])
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features = model(nn.utils.rnn.pad_sequence(waves, batch_first=True), lengths)
        for row, wave in enumerate(waves):
            expected = torch.cat(list(direct([wave])["hidden_states"]))
            count = int(features.lengths[row])
            assert expected.shape[1] - count in (0, 1)  # a frame that starts after the end of the sound is left out
            assert features.frames.shape[0] == len(expected) == model.layers
            scale = float(expected.abs().max())
            assert float((features.frames[:, row, :count] - expected[:, :count]).abs().max()) <= 1e-5 * max(scale, 1)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the logs, warnings and output of the reference."""
    logging.disable(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def expert(entry: str, *arguments: Any, **options: Any) -> nn.Module:
    """The family's own class, called as its hub does."""
    family = from_s3prl.entries()[entry]
    with quiet():
        module = importlib.import_module(f"s3prl.upstream.{family}.expert")
        return module.UpstreamExpert(*arguments, **options).eval()


@pytest.mark.parametrize("entry", MAKERS)
def test_features_are_those_of_the_expert_called_directly(entry: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "checkpoint.pt"
    with quiet():
        MAKERS[entry](file)
    model = from_s3prl.load(entry, file)
    options = {}
    if entry.startswith("byol_a"):
        hubconf = importlib.import_module("s3prl.upstream.byol_a.hubconf")
        options = {"model_config": hubconf.DEFAULT_CONFIG_PATH, "feature_d": 512}
    assert_equal_to_expert(model, expert(entry, str(file), **options))
    file.unlink()  # some are large, and pytest would keep them


@pytest.mark.parametrize("entry", WITHOUT_WEIGHTS)
def test_spectral_features_are_those_of_the_expert(entry: str) -> None:
    hubconf_file = importlib.import_module("s3prl.upstream.baseline.hubconf").__file__
    assert hubconf_file is not None
    assert_equal_to_expert(from_s3prl.load(entry, None), expert(entry, str(Path(hubconf_file).parent / f"{entry}.yaml")))


def test_a_configuration_is_accepted_as_the_file_of_an_entry(tmp_path: Path) -> None:
    hubconf_file = importlib.import_module("s3prl.upstream.log_stft.hubconf").__file__
    assert hubconf_file is not None
    file = Path(hubconf_file).parent / "stft_mag.yaml"
    with pytest.raises(CommandError, match="s3prl/stft_mag@FILE"):
        from_s3prl.load("stft_mag", None)
    model = from_s3prl.load("stft_mag", file)
    assert (model.dim, model.hop) == (257, 320)
    assert_equal_to_expert(model, expert("stft_mag", str(file)))


@pytest.mark.parametrize("entry", ["hf_hubert_custom", "hf_wav2vec2_custom"])
def test_a_folder_of_transformers_runs_through_s3prl(entry: str, tmp_path: Path) -> None:
    sizes = {
        "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64, "conv_dim": [16] * 7,
        "num_conv_pos_embedding_groups": 4, "num_conv_pos_embeddings": 32,
    }  # fmt: skip
    config_class = transformers.HubertConfig if "hubert" in entry else transformers.Wav2Vec2Config
    transformers.AutoModel.from_config(config_class(**sizes)).save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path)
    model = from_s3prl.load(entry, tmp_path)
    assert_equal_to_expert(model, expert(entry, str(tmp_path)))
    assert (model.layers, model.dim, model.hop) == (3, 48, 320)


@pytest.mark.parametrize("name", ["fbank", "fbank_no_cmvn"])
def test_native_filter_banks_agree_with_those_of_s3prl(name: str) -> None:
    native, reference = plugins.upstream(plugins.parse(name)), plugins.upstream(plugins.parse(f"s3prl/{name}"))
    waves = sound()
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = nn.utils.rnn.pad_sequence(waves, batch_first=True)
    with torch.inference_mode():
        ours, expected = native.model(padded, lengths), reference.model(padded, lengths)
    assert (native.hop, native.layers, native.dim) == (reference.hop, reference.layers, reference.dim)
    assert ours.lengths.tolist() == expected.lengths.tolist()
    assert float((expected.frames - ours.frames).abs().max() / ours.frames.abs().max()) < 1e-3


@pytest.mark.parametrize("name", ["fbank", "spectrogram"])
def test_every_check_of_the_doctor_holds_for_spectra_of_s3prl(name: str) -> None:
    report = examine(plugins.upstream(plugins.parse(f"s3prl/{name}")))
    assert [finding for finding in report.findings if not finding.holds] == []


def test_a_local_checkpoint_keeps_the_contract(tmp_path: Path) -> None:
    apc(tmp_path / "apc.ckpt")
    loaded = plugins.upstream(plugins.parse(f"s3prl/apc_local@{tmp_path / 'apc.ckpt'}"))
    assert (loaded.hop, loaded.dim, loaded.layers) == (160, 32, 3)
    assert [finding for finding in examine(loaded).findings if not finding.holds] == []


# ---------------------------------------------------------------- names and errors


def test_entries_are_found_without_importing_a_family() -> None:
    families = from_s3prl.entries()
    assert families["fbank"] == "baseline"
    assert families["wavlm_base_plus"] == "wavlm"
    assert families["hubert_custom"] == "hubert"


def test_models_that_s3prl_cannot_load_are_explained(tmp_path: Path) -> None:
    file = tmp_path / "noise.ckpt"
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(CommandError, match=r"Did you mean fbank.*--hub s3prl"):
        from_s3prl.load("fbnk", None)
    with pytest.raises(CommandError, match="needs a checkpoint"):
        from_s3prl.load("apc_local", None)
    with pytest.raises(CommandError, match="downloads no file"):
        from_s3prl.load("customized_upstream", file)
    with pytest.raises(BadCheckpoint, match="does not exist"):
        from_s3prl.load("apc_local", tmp_path / "absent.ckpt")
    with pytest.raises(BadCheckpoint, match=r"noise\.ckpt cannot be loaded by s3prl/apc"):
        from_s3prl.load("apc", file)


def test_a_checkpoint_of_another_family_is_refused(tmp_path: Path) -> None:
    apc(tmp_path / "apc.ckpt")
    with pytest.raises(BadCheckpoint, match="family 'hubert'"):
        from_s3prl.load("hubert", tmp_path / "apc.ckpt")


def test_a_failed_download_names_the_file_and_where_to_put_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from s3prl.util import download

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no route")

    monkeypatch.setattr(download, "_download", unreachable)
    monkeypatch.setattr(download, "_download_dir", tmp_path)
    with pytest.raises(SuperbenchError, match=r"apc_360hr\.ckpt belongs at .*apc_360hr\.ckpt.*s3prl/apc@FILE") as error:
        from_s3prl.load("apc", None)
    place = str(error.value).partition("belongs at ")[2].partition(". Or")[0]
    apc(Path(place))
    monkeypatch.setattr(download, "_download", lambda *_, **__: None)  # as for a file that exists
    assert from_s3prl.load("apc", None).dim == 32


def test_an_entry_of_two_files_names_both_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_s3prl, "NEEDS", {})
    torch.save({}, tmp_path / "one.pt")
    with pytest.raises(CommandError, match=r"needs 2 files.*vggish-10086976\.pth.*vggish_pca_params"):
        from_s3prl.load("vggish", tmp_path / "one.pt")


@pytest.mark.parametrize(
    ("entry", "package"), [("byol_s_default", "torchaudio"), ("mos_wav2vec2", "torchaudio"), ("ssast_frame_base", "timm"),
                        ("ast", "timm"), ("cvhubert", "ESPnet"), ("pase_plus", "pase")],
)  # fmt: skip
def test_a_missing_dependency_is_named_before_any_download(entry: str, package: str) -> None:
    with pytest.raises(SuperbenchError, match=f"cannot be used here: its family .* needs .*{package}"):
        from_s3prl.load(entry, None)


class CodeInPickle:
    """An object whose pickle creates a file when it is loaded."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("trapped"),))


def test_a_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for entry in ("tera", "distilhubert", "apc"):
        torch.save({"Config": CodeInPickle(), "config": CodeInPickle()}, tmp_path / "trap.ckpt")
        with pytest.raises(BadCheckpoint):
            from_s3prl.load(entry, tmp_path / "trap.ckpt")
    assert not Path("trapped").exists()


def with_expression(value: Any, expression: str) -> Any:
    """The contents of a checkpoint, with another expression for the sizes of its convolutions."""
    if isinstance(value, argparse.Namespace):
        return argparse.Namespace(**with_expression(vars(value), expression))
    if isinstance(value, dict):
        return type(value)((key, with_expression(part, expression)) for key, part in value.items())
    return expression if isinstance(value, str) and value == CHECKPOINTS["CONVOLUTIONS"] else value


@pytest.mark.parametrize("entry", WITH_EXPRESSIONS)
def test_an_expression_in_a_checkpoint_cannot_run_code(entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    MAKERS[entry](tmp_path / "own.pt")
    contents = torch.load(tmp_path / "own.pt", weights_only=False)
    trap = f"[__import__('pathlib').Path('trapped').touch()][1:] or {CHECKPOINTS['CONVOLUTIONS']}"
    torch.save(with_expression(contents, trap), tmp_path / "trap.pt")
    with pytest.raises(BadCheckpoint, match="may run code"):
        from_s3prl.load(entry, tmp_path / "trap.pt")
    assert not Path("trapped").exists()
    assert eval("1 + 1") == 2


def test_no_patch_of_s3prl_remains_after_an_error(tmp_path: Path) -> None:
    from s3prl.util import download

    with pytest.raises(BadCheckpoint):
        from_s3prl.load("apc", TABLE.parent)
    modules = [
        module for name, module in sys.modules.items() if name.startswith("s3prl.") and "_urls_to_filepaths" in vars(module)
    ]
    assert all(module._urls_to_filepaths is download._urls_to_filepaths for module in modules)
    assert download._urls_to_filepaths.__module__ == "s3prl.util.download"


# ---------------------------------------------------------------- the table


def rows() -> dict[str, list[str]]:
    """Family -> cells of its row in docs/upstreams.md."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0].strip("`").removeprefix("s3prl/"): row for row in cells if row[0].startswith("`s3prl/")}


def test_every_family_is_in_the_table() -> None:
    families = from_s3prl.entries()
    assert set(rows()) == set(families.values())
    for family, row in rows().items():
        named = re.findall(r"`(\w+)`", row[1])
        assert named
        assert {families.get(entry) for entry in named} == {family}, row


def test_the_table_marks_tested_families_equal_and_the_others_unusable() -> None:
    families = from_s3prl.entries()
    tested = {families[entry] for entry in (*MAKERS, *WITHOUT_WEIGHTS, "stft_mag", "hf_hubert_custom", "hf_wav2vec2_custom")}
    equal = {family for family, row in rows().items() if row[3] == "equal" and "by hand" not in row[4]}
    cannot = {family for family, row in rows().items() if row[3].startswith("cannot")}
    assert tested == equal
    assert cannot == set(from_s3prl.NEEDS)
