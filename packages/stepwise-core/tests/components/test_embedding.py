"""Embedding: scaled token vectors, plus positions, then dropout."""

import pytest
import torch

from stepwise_core.components.embedding import Embedding
from stepwise_core.components.positional_encoding import sinusoidal_table

IDS = torch.tensor([[3, 1, 3], [0, 4, 2]])


def embedding(positions: str = "rotary", scale: bool = False, dropout: float = 0.0) -> Embedding:
    torch.manual_seed(0)
    return Embedding(5, 16, positions=positions, max_length=8, scale=scale, dropout=dropout)


@pytest.mark.parametrize(("scale", "factor"), [(True, 4.0), (False, 1.0)])
def test_vectors_are_scaled_by_the_root_of_the_width(scale: bool, factor: float) -> None:
    made = embedding(scale=scale)
    torch.testing.assert_close(made(IDS), made.tokens.weight[IDS] * factor)


def test_positions_are_added_to_the_scaled_vectors() -> None:
    made = embedding("sinusoidal", scale=True)
    expected = made.tokens.weight[IDS] * 4.0 + sinusoidal_table(8, 16)[2:5]
    torch.testing.assert_close(made(IDS, start=2), expected)


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_the_same_token_elsewhere_is_another_vector(positions: str) -> None:
    made = embedding(positions)
    if positions == "learned":
        torch.nn.init.normal_(made.positions.get_parameter("table"))
    vectors = made(IDS)[0]
    assert not torch.allclose(vectors[0], vectors[2])


def test_dropout_is_on_the_sum_and_in_training_only() -> None:
    made = embedding("sinusoidal", dropout=0.5)
    ids = torch.randint(5, (64, 8))
    vectors = made(ids)
    dropped = vectors == 0
    assert 0.45 < float(dropped.float().mean()) < 0.55
    torch.testing.assert_close(vectors[~dropped], 2 * made.eval()(ids)[~dropped])
    assert torch.equal(made(ids), made(ids))
