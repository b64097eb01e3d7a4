"""Captured attention maps: the weights the model used, without a trace in its outputs or its training."""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from stepwise_core.components.masks import CAUSAL, AttentionMask
from stepwise_core.config import ModelConfig
from stepwise_core.models import Transformer, build_model
from stepwise_core.models.attention_maps import KINDS, CapturedAttention, capture_attention

V, B, S, T, H = 11, 2, 6, 4, 4
LENGTHS = torch.tensor([6, 3])
MASK = AttentionMask.from_lengths(LENGTHS, S)


def make_model(attention: str = "fast", positions: str = "rotary", dropout: float = 0.0) -> Transformer:
    torch.manual_seed(0)
    values = {"d_model": 16, "n_heads": H, "n_kv_heads": 2, "n_encoder_layers": 3, "n_decoder_layers": 2}
    options = {"attention": attention, "positions": positions, "dropout": dropout}
    config = ModelConfig.model_validate({**values, **options, "attention_dropout": dropout})
    return build_model(config, V, V)


def batch() -> tuple[Tensor, Tensor, AttentionMask]:
    ids = torch.randint(4, V, (B, S + T), generator=torch.Generator().manual_seed(0))
    return ids[:, :S], ids[:, S:], MASK


@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
def test_maps_are_those_of_the_reference_path(positions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights that the reference path multiplies its values with, noted on their way."""
    from stepwise_core.components import attention as module

    used: list[Tensor] = []
    compute = module.attention_weights

    def noting(*args: object, **kwargs: object) -> Tensor:
        used.append(compute(*args, **kwargs))  # type: ignore[arg-type]
        return used[-1]

    with monkeypatch.context() as patched:
        patched.setattr(module, "attention_weights", noting)
        make_model("reference", positions).eval()(*batch())
    model = make_model("fast", positions).eval()
    with capture_attention(model) as captured:
        model(*batch())
    maps = [captured.maps["encoder"][layer] for layer in range(3)]
    for layer in range(2):
        maps += [captured.maps["decoder"][layer], captured.maps["cross"][layer]]
    assert len(used) == len(maps) == 7
    for found, expected in zip(maps, used, strict=True):
        torch.testing.assert_close(found, expected)


def test_shapes_sums_and_masks() -> None:
    model = make_model().eval()
    with capture_attention(model) as captured:
        model(*batch())
    shapes = {"encoder": (3, H, S, S), "decoder": (2, H, T, T), "cross": (2, H, T, S)}
    assert set(captured.maps) == set(KINDS) == set(shapes)
    for kind, shape in shapes.items():
        for sequence in range(B):
            maps = captured.stacked(kind, sequence)
            assert maps.shape == shape
            assert not maps.requires_grad
            torch.testing.assert_close(maps.sum(-1), torch.ones(shape[:-1]))
    allowed = CAUSAL.dense(T, T)
    assert allowed is not None
    assert (captured.stacked("decoder").masked_fill(allowed[0], 0) == 0).all()
    assert (captured.stacked("cross", 1)[..., 3:] == 0).all()  # padding
    assert (captured.stacked("encoder", 1)[..., 3:] == 0).all()


def trained_gradients(capture: bool) -> list[Tensor]:
    """Outputs and gradients of a training step with dropout, from the same state of the random generator."""
    model = make_model(dropout=0.3).train()
    torch.manual_seed(5)
    with capture_attention(model) if capture else nullcontext():
        logits = model(*batch())
        F.cross_entropy(logits.flatten(0, 1), torch.zeros(B * T, dtype=torch.int64)).backward()
    return [logits, *(parameter.grad for parameter in model.parameters() if parameter.grad is not None)]


def test_looking_changes_neither_outputs_nor_gradients() -> None:
    """To the bit: random numbers are drawn and sums are made as without looking."""
    with_looking, without = trained_gradients(True), trained_gradients(False)
    assert len(with_looking) > 20
    assert all(torch.equal(one, other) for one, other in zip(with_looking, without, strict=True))


def test_chosen_layers_and_heads_only() -> None:
    model = make_model().eval()
    with capture_attention(model) as everything:
        model(*batch())
    with capture_attention(model, layers=[1, 2], heads=[3, 0]) as chosen:
        model(*batch())
    assert {kind: sorted(layers) for kind, layers in chosen.maps.items()} == {
        "encoder": [1, 2],
        "decoder": [1],
        "cross": [1],
    }
    for kind, layers in chosen.maps.items():
        for layer, found in layers.items():
            torch.testing.assert_close(found, everything.maps[kind][layer][:, [3, 0]])


def test_the_last_pass_stays_and_nothing_is_noted_after_the_block() -> None:
    model = make_model().eval()
    source, target, mask = batch()
    with capture_attention(model) as captured:
        model(source, target, mask)
        model(source[:, :5], target[:, :2])
    assert captured.stacked("cross").shape == (2, H, 2, 5)
    model(source, target, mask)
    assert captured.stacked("cross").shape == (2, H, 2, 5)


def test_hooks_are_removed_after_an_exception() -> None:
    model = make_model().eval()
    kept: list[CapturedAttention] = []
    with pytest.raises(RuntimeError, match="in between"), capture_attention(model) as captured:
        kept.append(captured)
        raise RuntimeError("in between")
    model(*batch())
    assert all(not layers for layers in kept[0].maps.values())


def test_step_by_step_decoding_is_refused() -> None:
    """With a cache an attention sees its new tokens only: a map of them would be wrong, so there is none."""
    model = make_model().eval()
    memory = model.encode(batch()[0], MASK)
    with capture_attention(model), pytest.raises(ValueError, match="without a cache"):
        model.decode(torch.tensor([[1], [1]]), memory, MASK, model.new_cache())
