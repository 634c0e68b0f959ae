"""ONNX files as upstreams; without onnxruntime, the message says what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from superbench import BadCheckpoint, CommandError, MissingExtra, plugins
from superbench.plugins.doctor.examination import examine
from upstream import from_onnx


def written(path: Path, rate: str = "24000", lengths: bool = False) -> Path:
    """A model of one convolution without padding at the beginning; two outputs are two hidden states."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    generator = torch.Generator().manual_seed(0)
    kernel = torch.randn(4, 1, 480, generator=generator) / 20
    nodes = [
        helper.make_node("Unsqueeze", ["waves", "axis"], ["channel"]),
        helper.make_node("Conv", ["channel", "kernel"], ["bands"], strides=[480], pads=[0, 479]),
        helper.make_node("Transpose", ["bands"], ["first"], perm=[0, 2, 1]),
        helper.make_node("Relu", ["first"], ["second"]),
    ]
    inputs = [helper.make_tensor_value_info("waves", kinds.FLOAT, ["batch", "samples"])]
    inputs += [helper.make_tensor_value_info("lengths", kinds.INT64, ["batch"])] * lengths
    outputs = [helper.make_tensor_value_info(name, kinds.FLOAT, ["batch", "time", 4]) for name in ("first", "second")]
    constants = [helper.make_tensor("axis", kinds.INT64, [1], [1]),
                 helper.make_tensor("kernel", kinds.FLOAT, kernel.shape, kernel.flatten().tolist())]  # fmt: skip
    model = helper.make_model(
        helper.make_graph(nodes, "net", inputs, outputs, constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    helper.set_model_props(model, {"sample_rate": rate})
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize("lengths", [False, True])
def test_a_file_is_an_upstream_at_its_own_rate(lengths: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model = from_onnx.load(str(written(tmp_path / "net.onnx", lengths=lengths)), None)
    assert (model.sample_rate, model.hop, model.layers, model.dim) == (24_000, 480, 2, 4)
    loaded = plugins.loaded(plugins.parse("onnx"), model, "cpu")
    assert loaded.hop == 320
    found = examine(loaded, seconds=5.0)
    assert found.healthy, found.reasons


def test_a_file_that_is_missing_damaged_or_takes_something_else_is_said(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(BadCheckpoint, match="does not exist"):
        from_onnx.load(str(tmp_path / "none.onnx"), None)
    (tmp_path / "bad.onnx").write_text("hello")
    with pytest.raises(BadCheckpoint, match="no model that onnxruntime can read"):
        from_onnx.load(str(tmp_path / "bad.onnx"), None)


def test_without_onnxruntime_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"speech-superbench\[onnx\]"):
        from_onnx.load("net.onnx", None)
    with pytest.raises(CommandError, match=r"onnx/a\.onnx"):
        from_onnx.load("net.onnx", Path("a.onnx"))
