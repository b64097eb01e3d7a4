"""The one mask type: True = this query may attend to this key, and the picture shows it."""

import pytest
import torch

from stepwise_core.components.masks import CAUSAL, EVERYTHING, AttentionMask

PADDED = AttentionMask(torch.tensor([[True, True, True, False], [True, False, False, False]]))
BOTH = AttentionMask(PADDED.key_is_real, causal=True)


@pytest.mark.parametrize(
    ("mask", "shape", "sequence", "picture"),
    [
        (EVERYTHING, (2, 4), 0, "■■■■\n■■■■"),
        (CAUSAL, (4, 4), 0, "■···\n■■··\n■■■·\n■■■■"),
        (CAUSAL, (4, 4), 1, "■···\n■■··\n■■■·\n■■■■"),  # the same for every sequence
        (CAUSAL, (2, 4), 0, "■■■·\n■■■■"),  # the last two of four positions
        (CAUSAL, (1, 4), 0, "■■■■"),  # the last position sees all
        (CAUSAL, (3, 2), 0, "··\n■·\n■■"),  # more queries than keys: the first has nothing to attend to
        (PADDED, (2, 4), 0, "■■■·\n■■■·"),
        (PADDED, (2, 4), 1, "■···\n■···"),
        (BOTH, (4, 4), 0, "■···\n■■··\n■■■·\n■■■·"),
        (BOTH, (4, 4), 1, "■···\n■···\n■···\n■···"),
        (BOTH, (2, 4), 0, "■■■·\n■■■·"),
        (BOTH, (1, 4), 1, "■···"),
    ],
)
def test_pictures(mask: AttentionMask, shape: tuple[int, int], sequence: int, picture: str) -> None:
    assert mask.picture(*shape, sequence=sequence) == picture


@pytest.mark.parametrize(
    ("mask", "shape"),
    [(EVERYTHING, None), (CAUSAL, (1, 1, 3, 4)), (PADDED, (2, 1, 3, 4)), (BOTH, (2, 1, 3, 4))],
)
def test_dense_is_boolean_and_broadcasts_over_heads(
    mask: AttentionMask, shape: tuple[int, ...] | None
) -> None:
    dense = mask.dense(3, 4)
    if shape is None:
        assert dense is None
    else:
        assert dense is not None
        assert dense.dtype == torch.bool
        assert dense.shape == shape


def test_a_decoding_step_is_the_last_row_of_the_whole() -> None:
    """Whatever part of the positions is new: its rows are the last rows of the square mask."""
    whole = BOTH.dense(4, 4)
    assert whole is not None
    for n_new in (1, 2, 3, 4):
        part = BOTH.dense(n_new, 4)
        assert part is not None
        assert torch.equal(part, whole[:, :, -n_new:])


def test_the_last_position_alone_needs_no_mask() -> None:
    """A step of decoding without padding: nothing is behind it, so the fast path may run without a mask."""
    assert CAUSAL.dense(1, 4) is None
    assert BOTH.dense(1, 4) is not None


def test_from_lengths() -> None:
    mask = AttentionMask.from_lengths(torch.tensor([3, 1]), longest=4)
    assert mask.key_is_real is not None
    assert mask.key_is_real.tolist() == [[True, True, True, False], [True, False, False, False]]
    assert not mask.causal


def test_nothing_padded_needs_no_mask() -> None:
    """So the fast path may run without one."""
    assert AttentionMask.from_lengths(torch.tensor([4, 4]), longest=4) == EVERYTHING
    assert AttentionMask.from_lengths(torch.tensor([4, 4]), longest=5).key_is_real is not None
