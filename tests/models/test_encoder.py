"""The encoder on any grid, its attention, and the faults it names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sarjepa.errors import InputError
from sarjepa.models.encoder import SIZES, Encoder, EncoderShape, encoder_shape, sincos_positions
from sarjepa.resampling import resample

SMALL = EncoderShape(width=32, depth=2, num_heads=2, patch_size=8, image_size=32)


def small_encoder(seed: int = 0) -> Encoder:
    """A tiny encoder whose relative positions are not at their zero start."""
    torch.manual_seed(seed)
    encoder = Encoder(SMALL)
    for block in encoder.blocks:
        torch.nn.init.normal_(block.attn.rpe_k.lookup_table_weight)
    return encoder.eval()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (8, 8), (16, 40)])
def test_tokens_of_any_multiple_of_the_patch(height: int, width: int) -> None:
    tokens = small_encoder().forward_features(torch.rand(2, 1, height, width))
    assert tokens.shape == (2, 1 + height * width // 64, 32)


@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (2, 1, 30, 32), (1, 32, 32)])
def test_an_image_it_cannot_read_is_an_input_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="multiples of 8"):
        small_encoder().forward_features(torch.rand(shape))


def test_attention_rows_sum_to_one_and_there_is_one_a_block() -> None:
    attention = small_encoder().attention(torch.rand(2, 1, 32, 24))
    assert [weights.shape for weights in attention] == [(2, 2, 13, 13)] * 2
    torch.testing.assert_close(attention[1].sum(dim=-1), torch.ones(2, 2, 13))


def test_attention_is_what_the_features_were_made_with() -> None:
    """The last block's softmax, applied by hand, gives forward_features."""
    encoder, image = small_encoder(), torch.rand(1, 1, 32, 32)
    seen = []
    encoder.blocks[-1].attn.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    encoder.forward_features(image)
    (tokens, output), weights = seen[0], encoder.attention(image)[-1]
    attn = encoder.blocks[-1].attn
    value = attn.qkv(tokens)[..., 64:].reshape(1, 17, 2, 16).transpose(1, 2)
    torch.testing.assert_close(attn.proj((weights @ value).transpose(1, 2).flatten(2)), output)


def test_without_positions_a_shuffled_chip_gives_shuffled_tokens_with_them_it_does_not() -> None:
    """The encoder knows where a patch is: moving two patches is more than moving two tokens."""
    encoder, image = small_encoder(), torch.rand(1, 1, 32, 32)
    moved = image.clone()
    moved[..., :8, :8], moved[..., 24:, 24:] = image[..., 24:, 24:], image[..., :8, :8]
    order = [0, 16, *range(2, 16), 1]
    before, after = encoder(image)[:, order], encoder(moved)
    assert (before - after).abs().max() > 1e-3
    for block in encoder.blocks:
        torch.nn.init.zeros_(block.attn.rpe_k.lookup_table_weight)
    torch.testing.assert_close(encoder(image)[:, order], encoder(moved), atol=1e-5, rtol=1e-4)


def test_without_a_class_token_the_mean_of_the_patches_stands_in_its_place() -> None:
    torch.manual_seed(0)
    encoder, image = Encoder(EncoderShape(16, 2, 2, 8, 32, "sincos", class_token=False)), torch.rand(2, 1, 32, 24)
    tokens = encoder(image)
    assert tokens.shape == (2, 13, 16)
    torch.testing.assert_close(tokens[:, 0], tokens[:, 1:].mean(dim=1))
    torch.testing.assert_close(encoder.forward_blocks(image, [2])[0], tokens)
    for weights in encoder.attention(image):
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 2, 13))
        torch.testing.assert_close(weights[:, :, 0], weights[:, :, 1:].mean(dim=2))
        assert not weights[:, :, :, 0].any()
    filler = torch.zeros(2, 12, dtype=torch.bool)
    filler[:, 9:] = True
    patches = encoder.embed_patches(image)
    torch.testing.assert_close(encoder.encode(patches, None, filler)[:, :9], encoder.encode(patches[:, :9]))
    with pytest.raises(InputError, match="need a class token"):
        EncoderShape(16, 2, 2, 8, class_token=False)


def test_weights_of_patches_start_as_a_linear_layers_and_their_bias_as_a_convolutions() -> None:
    torch.manual_seed(0)
    projection = Encoder(encoder_shape("vit-small")).patch_embed.proj
    assert projection.bias is not None
    for values, bound in ((projection.weight, (6 / (384 + 256)) ** 0.5), (projection.bias, 1 / 256**0.5)):
        assert 0.97 * bound < values.abs().max() <= bound
        assert abs(values.std().item() / (bound / 3**0.5) - 1) < 0.1  # uniform


def test_every_published_size_can_be_built() -> None:
    for model, (width, depth, heads, patch) in SIZES.items():
        shape = encoder_shape(model, image_size=patch * 4)
        assert (shape.width, shape.depth, shape.num_heads) == (width, depth, heads)
        assert width % heads == 0
    with torch.device("meta"):
        parameters = sum(value.numel() for value in Encoder(encoder_shape("vit-base")).parameters())
    assert 85e6 < parameters < 86.5e6


def test_an_unknown_model_names_the_nearest_and_a_wrong_size_the_multiple() -> None:
    with pytest.raises(InputError, match="vit-base"):
        encoder_shape("vit-bse")
    with pytest.raises(InputError, match="multiple of 16"):
        encoder_shape("vit-base", image_size=100)


def test_sincos_positions_tell_every_patch_apart() -> None:
    table = sincos_positions(5, 7, 32)
    assert table.shape == (35, 32)
    assert torch.cdist(table, table).fill_diagonal_(1).min() > 0.1


@pytest.mark.parametrize("positions", [True, "none", ""])
def test_an_encoder_without_positions_cannot_be_built_by_mistake(positions: object) -> None:
    with pytest.raises(InputError, match="no such kind of position"):
        EncoderShape(64, 2, 2, 8, positions=positions)  # type: ignore[arg-type]


def test_every_block_of_a_relative_encoder_has_its_table() -> None:
    encoder = Encoder(encoder_shape("vit-demo", 64))
    tables = [name for name, _ in encoder.named_parameters() if name.endswith("lookup_table_weight")]
    assert len(tables) == len(encoder.blocks) > 0


CHIP = np.random.default_rng(0).integers(0, 256, (50, 40), dtype=np.uint8)


@pytest.fixture
def small() -> Encoder:
    torch.manual_seed(0)
    return Encoder(EncoderShape(16, 2, 2, 8, 32)).eval()


@pytest.mark.parametrize(
    "same",
    [
        CHIP,
        CHIP[None],
        [CHIP],
        CHIP / 255,
        (CHIP / 255).astype(">f4"),
        CHIP.astype(np.uint16) * 257,
        torch.from_numpy(CHIP),
        torch.from_numpy(CHIP)[None, None],
        [torch.from_numpy(CHIP)[None] / 255],
    ],
)
def test_an_image_has_one_embedding_however_it_is_given(small: Encoder, same: Any) -> None:
    expected = small.forward_features(resample([CHIP], [255.0], 32))[:, 0].detach().numpy()
    found = small.embed(same)
    is_tensor = torch.is_tensor(same[0])
    assert isinstance(found, torch.Tensor if is_tensor else np.ndarray)
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)


def test_embeddings_are_cropped_as_the_training_was_unless_it_is_said_otherwise(small: Encoder) -> None:
    centre, others = CHIP[13:37, 8:32], [CHIP, CHIP[:20], CHIP[5:]]
    small.describe["centre_crop"] = {"toy": 24}
    np.testing.assert_allclose(small.embed(CHIP), small.embed(centre), atol=1e-5)
    assert np.abs(small.embed(CHIP, crop=None) - small.embed(centre)).max() > 1e-3
    assert small.embed(others, "cls+grid4@1,2", batch_size=2).shape == (3, 2 * 17 * 16)
    assert small.embed([]).shape == (0, 16)
    small.describe["centre_crop"] = {"toy": 24, "mstar": None}
    with pytest.raises(InputError, match=r"each its own way.*crop=None for the whole image"):
        small.embed(CHIP)


@pytest.mark.parametrize(
    ("images", "pool", "words"),
    [
        (np.zeros((4, 4, 3)), "cls", "not an image of magnitudes|not a single-channel image"),
        (np.zeros((2, 3, 8, 8)), "cls", "image 0; expected .*3, 8, 8"),
        ([CHIP, CHIP.astype(np.int64)], "cls", "image 1; expected .* 8 or 16 bits; got int64, 0 to 255"),
        (np.log10(CHIP + 0.1), "cls", "expected float magnitudes"),
        (CHIP, "max", "no such pool: 'max'"),
        (CHIP, "cls@x", "no such pool"),
    ],
)
def test_what_cannot_be_embedded_is_one_line(small: Encoder, images: Any, pool: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        small.embed(images, pool)


@pytest.mark.parametrize("image", [np.zeros((1, 1, 32, 32), np.float32), torch.zeros(1, 1, 32, 32, dtype=torch.uint8)])
def test_an_array_or_integers_in_place_of_a_float_tensor_are_an_error_of_our_own(small: Encoder, image: Any) -> None:
    with pytest.raises(InputError, match=r"float tensor \(B, 1, H, W\).* encoder.embed takes"):
        small.forward_features(image)
