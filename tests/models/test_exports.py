"""Exported encoders give what the encoder gives, at other sizes than they were exported with."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load, save_file

from sarjepa.config import ExportConfig
from sarjepa.errors import InputError
from sarjepa.models.checkpoints import encoder_bytes, load_encoder
from sarjepa.models.encoder import POSITIONS, Encoder, EncoderShape
from sarjepa.models.exports import FORMATS, Traced
from sarjepa.progress import Progress
from sarjepa.recipes import export


def encoder_with(positions: str, class_token: bool = True) -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(EncoderShape(16, 1, 2, 8, 32, positions, class_token))
    for name, parameter in encoder.named_parameters():
        if "rpe" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter)
    return encoder.eval()


def images_for(positions: str) -> torch.Tensor:
    """Of other sizes than an exporter is shown, and far offsets among the patches."""
    return torch.rand(3, 1, 32, 32) if positions == "learned" else torch.rand(3, 1, 40, 200)


@pytest.mark.parametrize("positions", POSITIONS)
def test_what_is_traced_is_what_the_encoder_gives(positions: str) -> None:
    encoder, image = encoder_with(positions), images_for(positions)
    torch.testing.assert_close(Traced(encoder)(image), encoder(image), atol=1e-5, rtol=1e-4)


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(("positions", "class_token"), [("relative", True), ("learned", True), ("sincos", False)])
def test_torchscript_runs_at_any_size(positions: str, class_token: bool) -> None:
    encoder, image = encoder_with(positions, class_token), images_for(positions)
    script = torch.jit.load(io.BytesIO(FORMATS["torchscript"](encoder, {})))
    torch.testing.assert_close(script(image), encoder(image), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("positions", ["relative", "sincos"])
def test_onnx_runs_at_any_size(positions: str) -> None:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason="install sarjepa[export]")
    onnxruntime = pytest.importorskip("onnxruntime", reason="install sarjepa[export]")
    encoder, image = encoder_with(positions), images_for(positions)
    session = onnxruntime.InferenceSession(FORMATS["onnx"](encoder, {}), providers=["CPUExecutionProvider"])
    [tokens] = session.run(None, {"image": image.numpy()})
    torch.testing.assert_close(torch.from_numpy(tokens), encoder(image).detach(), atol=1e-5, rtol=1e-4)


def test_timm_and_safetensors_are_read_back(tmp_path: Path) -> None:
    encoder, image = encoder_with("sincos"), torch.rand(2, 1, 32, 32)
    vit = timm.models.VisionTransformer(
        img_size=32, patch_size=8, in_chans=1, num_classes=0, embed_dim=16, depth=1, num_heads=2
    ).eval()
    vit.load_state_dict(load(FORMATS["timm"](encoder, {})))
    torch.testing.assert_close(vit.forward_features(image), encoder(image), atol=1e-5, rtol=1e-4)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "encoder.safetensors").write_bytes(encoder_bytes(encoder, {"method": "mae"}))
    export.run(ExportConfig(run=str(tmp_path / "run")), Progress())
    found = load_encoder(tmp_path / "run" / "exported.safetensors")
    assert torch.equal(found(image), encoder(image)) and found.describe["method"] == "mae"


def test_what_cannot_be_exported_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "encoder.safetensors").write_bytes(encoder_bytes(encoder_with("relative"), {}))
    with pytest.raises(InputError, match="no place for relative positions"):
        export.run(ExportConfig(run=str(tmp_path), format="timm"), Progress())
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"not installed: onnx, onnxscript; pip install 'sarjepa\[export\]'"):
        export.run(ExportConfig(run=str(tmp_path), format="onnx"), Progress())
    assert not list(tmp_path.glob("timm*")) + list(tmp_path.glob("*.onnx"))


def test_an_export_of_anothers_weights_lies_beside_them_whatever_word_stands_before(tmp_path: Path) -> None:
    vit = timm.models.VisionTransformer(img_size=32, patch_size=8, embed_dim=96, depth=1, num_heads=3, num_classes=0)
    save_file(vit.state_dict(), tmp_path / "vit.safetensors")
    export.run(ExportConfig(run=f"half:{tmp_path / 'vit.safetensors'}"), Progress())
    image = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        expected = vit.eval().forward_features((image - 0.5).expand(-1, 3, -1, -1) / 0.5)
    torch.testing.assert_close(load_encoder(tmp_path / "exported.safetensors")(image), expected, atol=1e-5, rtol=1e-4)
