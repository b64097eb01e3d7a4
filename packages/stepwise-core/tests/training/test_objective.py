"""The loss: its equation written out, and that padding never counts."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwise_core.data.tokenizers import PAD
from stepwise_core.training.objective import count_correct, label_smoothed_loss

V = 7


def written_out(logits: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Sum over real tokens of -sum_v q(v) log p(v), with q = (1 - e) [v = target] + e / V, one by one."""
    total = torch.zeros((), dtype=logits.dtype)
    for row, row_targets in zip(logits, targets.tolist(), strict=True):
        for scores, target in zip(row, row_targets, strict=True):
            if target == PAD:
                continue
            log_p = scores - scores.exp().sum().log()  # (V,)
            q = torch.full((V,), smoothing / V, dtype=logits.dtype)
            q[target] += 1 - smoothing
            total -= (q * log_p).sum()
    return total


def draw(seed: int, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits (B, T, V) and right-padded targets (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    shape = len(lengths), max(lengths)
    logits = torch.randn(*shape, V, generator=generator, dtype=torch.float64)
    targets = torch.randint(1, V, shape, generator=generator)
    for row, length in enumerate(lengths):
        targets[row, length:] = PAD
    return logits, targets


@settings(deadline=None)
@given(
    seed=st.integers(0, 1_000),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    smoothing=st.floats(0, 0.9),
)
def test_label_smoothing_is_its_equation(seed: int, lengths: list[int], smoothing: float) -> None:
    logits, targets = draw(seed, lengths)
    found = label_smoothed_loss(logits, targets, smoothing)
    torch.testing.assert_close(found, written_out(logits, targets, smoothing), rtol=1e-12, atol=1e-12)


def test_without_smoothing_it_is_the_sum_of_negative_log_probabilities() -> None:
    logits, targets = draw(1, [3, 3])
    picked = logits.log_softmax(-1).gather(-1, targets[..., None])
    torch.testing.assert_close(label_smoothed_loss(logits, targets, 0.0), -picked.sum())


def test_padding_has_neither_loss_nor_gradient() -> None:
    logits, targets = draw(2, [5, 2])
    logits.requires_grad_()
    label_smoothed_loss(logits, targets, 0.1).backward()
    assert logits.grad is not None
    assert (logits.grad[1, 2:] == 0).all()
    assert (logits.grad[0] != 0).any(dim=-1).all()
    with torch.no_grad():
        changed = logits.clone()
        changed[1, 2:] = 50.0
    assert torch.equal(label_smoothed_loss(changed, targets, 0.1), label_smoothed_loss(logits, targets, 0.1))


def test_low_precision_logits_are_summed_in_float32() -> None:
    logits, targets = draw(3, [5] * 40)
    loss = label_smoothed_loss(logits.bfloat16(), targets, 0.1)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, label_smoothed_loss(logits.bfloat16().float(), targets, 0.1))


def test_right_tokens_are_counted_and_padding_is_not() -> None:
    targets = torch.tensor([[1, 2, 3], [4, PAD, PAD]])
    logits = torch.nn.functional.one_hot(torch.tensor([[1, 5, 3], [4, PAD, PAD]]), V).float()
    assert count_correct(logits, targets) == 3
