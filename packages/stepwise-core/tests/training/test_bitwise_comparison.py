"""Comparing tensors bit by bit: nothing that differs is called equal."""

import math

import pytest
import torch

from stepwise_core.verification import compare_tensors

ONE = torch.tensor([1.0, 2.0, 3.0])


def test_equal_tensors_have_zero_difference() -> None:
    found = compare_tensors({"a": ONE, "b": ONE[:2]}, {"b": ONE[:2].clone(), "a": ONE.clone()})
    assert (found.values, found.different, found.largest, found.is_zero) == (5, 0, 0.0, True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
def test_the_smallest_change_is_seen(dtype: torch.dtype) -> None:
    other = ONE.to(dtype)
    changed = other.clone()
    changed.view(torch.uint8)[-1 if dtype == torch.int64 else 0] ^= 1
    found = compare_tensors({"a": other}, {"a": changed})
    assert (found.different, found.is_zero) == (1, False)
    assert found.largest > 0


def test_signs_of_zero_differ_and_equal_nans_do_not() -> None:
    zeros = compare_tensors({"a": torch.tensor([0.0, 0.0, 0.0])}, {"a": torch.tensor([-0.0, 0.0, -0.0])})
    assert (zeros.values, zeros.different, zeros.largest) == (3, 2, 0.0)
    assert compare_tensors({"a": torch.tensor([math.nan])}, {"a": torch.tensor([math.nan])}).is_zero


def test_a_nan_against_a_number_is_infinitely_far() -> None:
    found = compare_tensors({"a": torch.tensor([1.0, 2.0])}, {"a": torch.tensor([1.5, math.nan])})
    assert (found.different, found.largest) == (2, math.inf)


@pytest.mark.parametrize("other", [{}, {"b": ONE}, {"a": ONE[:2]}, {"a": ONE.double()}, {"a": ONE[None]}])
def test_what_only_one_side_has_differs_everywhere(other: dict[str, torch.Tensor]) -> None:
    for first, second in (({"a": ONE}, other), (other, {"a": ONE})):
        found = compare_tensors(first, second)
        assert found.different == found.values >= 3
        assert found.largest == math.inf


def test_scalars_and_slices_compare() -> None:
    assert compare_tensors({"step": torch.tensor(3.0)}, {"step": torch.tensor(3.0)}).is_zero
    matrix = torch.arange(12.0).view(3, 4)
    assert compare_tensors({"a": matrix.T}, {"a": matrix.T.contiguous()}).is_zero
