"""The twins: the fast path gives what the readable reference gives, forward and backward, whatever the mask."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from stepwise_core.components.attention import (
    MultiHeadAttention,
    attention_weights,
    fast_attention,
    reference_attention,
)
from stepwise_core.components.masks import AttentionMask
from stepwise_core.components.positional_encoding import RotaryEncoding

# How far two orders of summation may be apart; bfloat16 keeps 8 bits, and the reference rounds at every line.
TOLERANCE: dict[torch.dtype, dict[str, float]] = {
    torch.float64: {"rtol": 1e-10, "atol": 1e-12},
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.bfloat16: {"rtol": 5e-2, "atol": 5e-2},
}
MAX_LENGTH = 16


@dataclass
class Case:
    """Inputs of one attention: queries (B, H, Q, d), keys and values (B, G, K, d), and a mask."""

    queries: Tensor
    keys: Tensor
    values: Tensor
    mask: AttentionMask

    @property
    def inputs(self) -> list[Tensor]:
        return [self.queries, self.keys, self.values]


@st.composite
def masks(draw: st.DrawFn, batch: int, n_keys: int) -> AttentionMask:
    """None, padding, causal, or both; padding anywhere, so that whole sequences and early rows may be masked."""
    padding = draw(st.none() | st.lists(st.booleans(), min_size=batch * n_keys, max_size=batch * n_keys))
    key_is_real = None if padding is None else torch.tensor(padding).view(batch, n_keys)
    return AttentionMask(key_is_real, causal=draw(st.booleans()))


@st.composite
def cases(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...] = tuple(TOLERANCE)) -> Case:
    batch, groups, per_group = (draw(st.integers(1, 3)) for _ in range(3))
    n_queries, n_keys = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    d_head = draw(st.sampled_from([1, 2, 8]))
    dtype = draw(st.sampled_from(dtypes))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

    queries = normal(batch, groups * per_group, n_queries, d_head)
    keys, values = normal(batch, groups, n_keys, d_head), normal(batch, groups, n_keys, d_head)
    return Case(queries, keys, values, draw(masks(batch, n_keys)))


def outputs_and_gradients(output: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    """The output, and the gradients of a sum in which every cell of it has a weight of its own."""
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape)
    return [output, *torch.autograd.grad((output * weights).sum(), inputs)]


@settings(max_examples=150, deadline=None)
@given(case=cases())
def test_fast_and_reference_agree(case: Case) -> None:
    found = [
        outputs_and_gradients(attend(case.queries, case.keys, case.values, case.mask), case.inputs)
        for attend in (fast_attention, reference_attention)
    ]
    for fast, reference in zip(*found, strict=True):
        assert fast.dtype == case.queries.dtype
        assert fast.isfinite().all()
        torch.testing.assert_close(fast, reference, **TOLERANCE[fast.dtype])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("n_queries", "n_keys"), [(130, 130), (1, 200), (70, 300)])
def test_they_agree_where_the_kernel_works_in_blocks(n_queries: int, n_keys: int, causal: bool) -> None:
    """Longer than a block of the fused kernel, with a whole block and a whole sequence masked."""
    torch.manual_seed(0)
    key_is_real = torch.arange(n_keys) < torch.tensor([n_keys, n_keys - 68, 0])[:, None]  # (B, K)
    mask = AttentionMask(key_is_real, causal)
    queries = torch.randn(3, 4, n_queries, 16, requires_grad=True)
    keys, values = (torch.randn(3, 2, n_keys, 16, requires_grad=True) for _ in "kv")
    inputs = [queries, keys, values]
    found = [
        outputs_and_gradients(attend(*inputs, mask), inputs)
        for attend in (fast_attention, reference_attention)
    ]
    for fast, reference in zip(*found, strict=True):
        torch.testing.assert_close(fast, reference, **TOLERANCE[torch.float32])
    assert (found[0][0][2] == 0).all()


@st.composite
def modules(draw: st.DrawFn) -> dict[str, Any]:
    n_kv_heads = draw(st.sampled_from([1, 2, 4]))
    rotary = RotaryEncoding(4, MAX_LENGTH) if draw(st.booleans()) else None
    training = draw(st.booleans())
    dropout = 0.0 if training else 0.5  # in training both paths drop, but not the same weights
    options = {"n_kv_heads": n_kv_heads, "rotary": rotary, "dropout": dropout, "bias": draw(st.booleans())}
    dtype = draw(st.sampled_from(list(TOLERANCE)))
    return {"options": options, "training": training, "dtype": dtype, "seed": draw(st.integers(0, 10_000))}


@settings(max_examples=80, deadline=None)
@given(data=st.data(), made=modules())
def test_modules_agree_over_positions_and_modes(data: st.DataObject, made: dict[str, Any]) -> None:
    torch.manual_seed(made["seed"])
    batch, n_queries = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 6))
    n_keys = data.draw(st.integers(1, 6))
    mask = data.draw(masks(batch, n_keys))
    fast, reference = (MultiHeadAttention(16, 4, fast=fast, **made["options"]) for fast in (True, False))
    reference.load_state_dict(fast.state_dict())
    looking, looked_at = torch.randn(batch, n_queries, 16), torch.randn(batch, n_keys, 16)
    found = []
    for module in (fast, reference):
        module.to(made["dtype"]).train(made["training"])
        inputs = [x.to(made["dtype"]).requires_grad_() for x in (looking, looked_at)]
        found.append(outputs_and_gradients(module(*inputs, mask), [*inputs, *module.parameters()]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **TOLERANCE[made["dtype"]])


@pytest.mark.parametrize("attend", [fast_attention, reference_attention])
@settings(max_examples=60, deadline=None)
@given(case=cases(dtypes=(torch.float32,)))
def test_lonely_rows_are_zero_and_their_gradients_too(attend: Any, case: Case) -> None:
    """A query that may attend to nothing gets zeros, and nothing flows back from it."""
    n_queries, n_keys = case.queries.shape[2], case.keys.shape[2]
    allowed = case.mask.dense(n_queries, n_keys)
    output, for_queries, for_keys, for_values = outputs_and_gradients(
        attend(case.queries, case.keys, case.values, case.mask), case.inputs
    )
    assert all(x.isfinite().all() for x in (output, for_queries, for_keys, for_values))
    if allowed is None:
        return
    allowed = allowed.expand(len(output), 1, n_queries, n_keys)
    lonely = ~allowed.any(dim=-1).expand(output.shape[:3])  # (B, H, Q)
    assert (output[lonely] == 0).all()
    assert (for_queries[lonely] == 0).all()
    unseen = ~allowed.any(dim=2).expand(for_keys.shape[:3])  # (B, G, K) keys that no query may look at
    assert (for_keys[unseen] == 0).all()
    assert (for_values[unseen] == 0).all()


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
@pytest.mark.parametrize("attend", [fast_attention, reference_attention])
def test_no_nan_appears_on_the_way_back(attend: Any) -> None:
    """Not even one that a later step would wipe out: who hunts a NaN must not find this one."""
    queries, keys, values = (torch.randn(2, 2, 3, 4, requires_grad=True) for _ in range(3))
    nothing = AttentionMask(torch.zeros(2, 3, dtype=torch.bool))
    with torch.autograd.detect_anomaly(check_nan=True):
        attend(queries, keys, values, nothing).sum().backward()
    assert queries.grad is not None
    assert (queries.grad == 0).all()


@settings(max_examples=60, deadline=None)
@given(case=cases(dtypes=(torch.float64,)))
def test_rows_of_weights_sum_to_one_or_zero_and_respect_the_mask(case: Case) -> None:
    weights = attention_weights(case.queries, case.keys, case.mask)  # (B, H, Q, K)
    allowed = case.mask.dense(*weights.shape[2:])
    allowed = torch.ones_like(weights, dtype=torch.bool) if allowed is None else allowed.expand_as(weights)
    assert (weights >= 0).all()
    assert (weights[~allowed] == 0).all()
    torch.testing.assert_close(weights.sum(-1), allowed.any(dim=-1).double())


@settings(max_examples=30, deadline=None)
@given(case=cases(dtypes=(torch.float64,)))
def test_grouped_query_attention_is_full_attention_with_repeated_heads(case: Case) -> None:
    per_group = case.queries.shape[1] // case.keys.shape[1]
    repeated = [x.repeat_interleave(per_group, dim=1) for x in (case.keys, case.values)]
    for attend in (fast_attention, reference_attention):
        grouped = attend(case.queries, case.keys, case.values, case.mask)
        full = attend(case.queries, *repeated, case.mask)
        torch.testing.assert_close(grouped, full, rtol=1e-10, atol=1e-12)
