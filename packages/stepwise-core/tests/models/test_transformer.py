"""The encoder-decoder: who sees what, padding, shared weights, and what is counted."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from stepwise_core.components.masks import AttentionMask
from stepwise_core.config import ModelConfig
from stepwise_core.models import Transformer, build_model, count_parameters

V = 11
POSITIONS = ["sinusoidal", "learned", "rotary"]


def make_model(**options: Any) -> Transformer:
    torch.manual_seed(0)
    values = {"d_model": 16, "n_heads": 4, "n_layers": 2, "max_length": 32, "dropout": 0.0, **options}
    return build_model(ModelConfig.model_validate(values), V, V).double()


def tokens(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(3, V, shape, generator=torch.Generator().manual_seed(seed))


def padded(source: Tensor, lengths: list[int], extra: int = 0) -> tuple[Tensor, AttentionMask]:
    """Put zeros behind the first `lengths` tokens, and `extra` columns of zeros; return the mask too."""
    source = torch.cat([source, source.new_zeros(len(source), extra)], dim=1)
    mask = AttentionMask.from_lengths(torch.tensor(lengths), source.shape[1])
    return (source if mask.key_is_real is None else source * mask.key_is_real), mask


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("n_kv_heads", [None, 2])
@pytest.mark.parametrize("norm_position", ["post", "pre"])
def test_both_attention_paths_give_the_same_model(
    positions: str, n_kv_heads: int | None, norm_position: str
) -> None:
    options = {"positions": positions, "n_kv_heads": n_kv_heads, "norm_position": norm_position}
    fast, reference = make_model(**options, attention="fast"), make_model(**options, attention="reference")
    source, mask = padded(tokens(3, 6), [6, 3, 1])
    target = tokens(3, 5, seed=1)
    torch.testing.assert_close(
        fast(source, target, mask), reference(source, target, mask), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("positions", POSITIONS)
@settings(max_examples=15, deadline=None)
@given(at=st.integers(0, 6), seed=st.integers(0, 1000))
def test_no_target_token_changes_what_comes_before_it(positions: str, at: int, seed: int) -> None:
    model = make_model(positions=positions)
    source, target = tokens(2, 5, seed=seed), tokens(2, 7, seed=seed + 1)
    changed = target.clone()
    changed[:, at] = (changed[:, at] - 3 + 1) % (V - 3) + 3  # another token
    before, after = model(source, target), model(source, changed)
    torch.testing.assert_close(before[:, :at], after[:, :at], rtol=1e-12, atol=1e-12)
    assert not torch.isclose(before[:, at:], after[:, at:]).all(dim=-1).any()  # and all that follow notice


@pytest.mark.parametrize("positions", POSITIONS)
def test_every_source_token_reaches_every_output(positions: str) -> None:
    model = make_model(positions=positions)
    source, target = tokens(1, 5), tokens(1, 4, seed=1)
    logits = model(source, target)
    for at in range(5):
        changed = source.clone()
        changed[:, at] = (changed[:, at] - 3 + 1) % (V - 3) + 3
        assert not torch.isclose(model(changed, target), logits).all(dim=-1).any()


@pytest.mark.parametrize("attention", ["fast", "reference"])
@pytest.mark.parametrize("positions", POSITIONS)
@settings(max_examples=10, deadline=None)
@given(lengths=st.lists(st.integers(1, 6), min_size=2, max_size=4), extra=st.integers(0, 5))
def test_padding_and_company_change_nothing(
    positions: str, attention: str, lengths: list[int], extra: int
) -> None:
    """A sentence in a padded batch gets the logits it gets by itself."""
    model = make_model(positions=positions, attention=attention)
    source, mask = padded(tokens(len(lengths), max(lengths)), lengths, extra)
    target = tokens(len(lengths), 5, seed=1)
    together = model(source, target, mask)
    for row, length in enumerate(lengths):
        alone = model(source[row : row + 1, :length], target[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("positions", POSITIONS)
def test_padding_tokens_get_no_gradient(positions: str) -> None:
    """What stands in the padding is never seen: other ids there give the same logits and gradients."""
    model = make_model(positions=positions, tie_weights="none")
    source, mask = padded(tokens(2, 6), [6, 3])
    logits = model(source, tokens(2, 4, seed=1), mask)
    logits.square().sum().backward()
    gradient = model.source_embedding.tokens.weight.grad
    assert gradient is not None
    assert (gradient[0] == 0).all()  # <pad>
    assert gradient[source[0, 0]].abs().sum() > 0
    assert mask.key_is_real is not None
    other = torch.where(mask.key_is_real, source, 9)
    torch.testing.assert_close(model(other, tokens(2, 4, seed=1), mask), logits)


@pytest.mark.parametrize(("tying", "matrices"), [("none", 3), ("decoder", 2), ("all", 1)])
def test_tied_weights_are_one_parameter(tying: str, matrices: int) -> None:
    model = make_model(tie_weights=tying)
    names = (model.source_embedding.tokens, model.target_embedding.tokens, model.output_projection)
    assert len({id(module.weight) for module in names}) == matrices
    stacks = count_parameters(model.encoder) + count_parameters(model.decoder)
    assert count_parameters(model) == stacks + matrices * V * 16
    model(tokens(2, 4), tokens(2, 3)).square().sum().backward()
    with torch.no_grad():  # a step moves all that is tied, and they stay equal
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter -= 0.1 * parameter.grad
    assert torch.equal(names[1].weight, names[2].weight) is (tying != "none")
    assert torch.equal(names[0].weight, names[1].weight) is (tying == "all")


def test_vocabularies_of_their_own() -> None:
    config = ModelConfig(d_model=16, n_heads=4, n_layers=1, tie_weights="decoder")
    model = build_model(config, 7, 9)
    assert model(torch.randint(7, (2, 3)), torch.randint(9, (2, 4))).shape == (2, 4, 9)
    with pytest.raises(ValueError, match="source has 7, target 9"):
        build_model(config.model_copy(update={"tie_weights": "all"}), 7, 9)


@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
@pytest.mark.parametrize("norm_position", ["post", "pre"])
def test_bias_false_leaves_no_bias(norm: str, norm_position: str) -> None:
    options = {"norm": norm, "norm_position": norm_position, "activation": "swiglu"}
    without, with_bias = make_model(bias=False, **options), make_model(bias=True, **options)
    assert not [name for name, _ in without.named_parameters() if "bias" in name]
    for name, module in with_bias.named_modules():
        if isinstance(module, nn.Linear) and module is not with_bias.output_projection:
            assert module.bias is not None, name


@pytest.mark.parametrize(("scale", "factor"), [(True, 4.0), (False, 1.0)])
def test_scale_embeddings(scale: bool, factor: float) -> None:
    """Both sides multiply their token vectors by sqrt(d_model), or do not."""
    model = make_model(scale_embeddings=scale, positions="rotary")
    ids = tokens(2, 5)
    for side in (model.source_embedding, model.target_embedding):
        torch.testing.assert_close(side(ids), side.tokens.weight[ids] * factor)


@pytest.mark.parametrize(("n_kv_heads", "kv_width"), [(4, 16), (2, 8), (1, 4)])
def test_grouped_queries_have_fewer_parameters(n_kv_heads: int, kv_width: int) -> None:
    """Six attentions (2 + 2 * 2 layers): key and value projections shrink from D x D to G * d x D."""
    full, grouped = make_model(), make_model(n_kv_heads=n_kv_heads)
    assert count_parameters(full) - count_parameters(grouped) == 6 * 2 * (16 - kv_width) * (16 + 1)


def test_the_papers_base_model_has_65_million_parameters() -> None:
    """Table 3: 65 x 10^6 with a shared vocabulary of 37 000 (counted without memory or time)."""
    with torch.device("meta"):
        model = Transformer(ModelConfig(max_length=8), 37_000, 37_000)
    assert count_parameters(model) == 63_082_496  # the paper rounds, and does not say what it counts


def test_sequences_beyond_the_limit_are_refused() -> None:
    for positions in POSITIONS:
        model = make_model(positions=positions, max_length=6)
        assert model(tokens(1, 6), tokens(1, 6)).shape == (1, 6, V)
        with pytest.raises(ValueError, match=r"model\.max_length = 6"):
            model(tokens(1, 7), tokens(1, 3))
        with pytest.raises(ValueError, match=r"model\.max_length = 6"):
            model(tokens(1, 3), tokens(1, 7))
