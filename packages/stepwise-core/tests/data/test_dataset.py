"""Datasets: the version names the content, whatever way it came; splits go by name."""

import pytest

from stepwise_core.data.dataset import Dataset, Example
from stepwise_core.errors import DataError

PAIRS = [Example("ab", "c"), Example("d", "é漢")]


def dataset(
    train: list[Example] = PAIRS, valid: list[Example] = PAIRS[:1], test: list[Example] = PAIRS[1:]
) -> Dataset:
    return Dataset("pairs", train, valid, test)


def test_the_version_is_the_documented_hash() -> None:
    """Computed by hand once: a change would make every old run refuse to resume."""
    assert dataset().version == "3da2cdd3929c0302"
    assert Dataset("other name", PAIRS, PAIRS[:1], PAIRS[1:], ("remark",)).version == dataset().version


@pytest.mark.parametrize(
    "other",
    [
        dataset(train=PAIRS[::-1]),
        dataset(train=[Example("a", "bc"), PAIRS[1]]),
        dataset(train=[Example("c", "ab"), PAIRS[1]]),
        dataset(valid=PAIRS[1:], test=PAIRS[:1]),
        dataset(train=[], valid=PAIRS * 2, test=[]),
        dataset(test=[]),
    ],
    ids=["order", "border between texts", "sides", "splits", "border between splits", "missing"],
)
def test_every_change_of_content_changes_the_version(other: Dataset) -> None:
    assert other.version != dataset().version


def test_splits_by_name() -> None:
    assert dataset().split("train") == PAIRS
    assert dataset().split("valid") == PAIRS[:1]
    assert dataset().split("test") == PAIRS[1:]
    with pytest.raises(DataError, match="no split 'dev'") as caught:
        dataset().split("dev")
    assert caught.value.hint == "choose one of train, valid, test"
