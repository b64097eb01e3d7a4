"""Toy tasks: right answers, no text twice, and the limits of what can be made."""

import pytest

from stepwise_core.config.schema import DataConfig, ToyConfig
from stepwise_core.data.dataset import Dataset, load_dataset
from stepwise_core.errors import DataError

TASKS = ("copy", "reverse", "sort", "addition")


def load(task: str, **settings: object) -> Dataset:
    values = {"name": task, "n_train": 1_000, "n_valid": 100, "n_test": 200, **settings}
    return load_dataset(DataConfig.model_validate(values))


@pytest.mark.parametrize("task", TASKS)
def test_no_text_is_in_two_splits_or_twice_in_one(task: str) -> None:
    dataset = load(task)
    sources = [example.source for example in dataset.train + dataset.valid + dataset.test]
    assert (len(dataset.train), len(dataset.valid), len(dataset.test)) == (1_000, 100, 200)
    assert len(set(sources)) == 1_300
    assert dataset.name == task


@pytest.mark.parametrize("task", TASKS)
def test_the_seed_decides(task: str) -> None:
    assert load(task).version == load(task).version
    assert load(task).version != load(task, seed=1).version


def test_answers() -> None:
    for example in load("copy").train:
        assert example.target == example.source
    for example in load("reverse").train:
        assert list(reversed(example.target)) == list(example.source)
    for example in load("sort").train:
        assert sorted(example.source) == list(example.target)
    for example in load("addition").train:
        left, right = example.source.split("+")
        assert int(left) + int(right) == int(example.target)


@pytest.mark.parametrize("task", ["copy", "reverse", "sort"])
def test_letters_and_lengths_stay_within_the_limits_and_reach_them(task: str) -> None:
    examples = load(task, toy=ToyConfig(n_symbols=5, min_length=3, max_length=9)).train
    assert {len(example.source) for example in examples} == set(range(3, 10))
    assert set("".join(example.source for example in examples)) == set("abcde")


def test_numbers_have_no_leading_zeros_and_the_configured_digits() -> None:
    examples = load("addition", toy=ToyConfig(min_length=1, max_length=3)).train
    numbers = [number for example in examples for number in example.source.split("+")]
    assert {len(number) for number in numbers} == {1, 2, 3}
    assert not any(number.startswith("0") for number in numbers)


def test_short_texts_are_spread_over_the_splits() -> None:
    toy = ToyConfig(n_symbols=4, min_length=2, max_length=6)  # 16 texts of length 2: all are drawn early
    dataset = load("copy", toy=toy, n_train=600, n_valid=600, n_test=600)
    for examples in (dataset.train, dataset.valid, dataset.test):
        assert any(len(example.source) == 2 for example in examples)


@pytest.mark.parametrize(
    ("task", "toy", "possible"),
    [("copy", ToyConfig(n_symbols=2, min_length=1, max_length=3), 14),
     ("addition", ToyConfig(min_length=1, max_length=1), 81)],
)  # fmt: skip
def test_half_of_all_possible_texts_can_be_had_and_no_more(task: str, toy: ToyConfig, possible: int) -> None:
    n_train = possible // 2 - 2
    assert len(load(task, toy=toy, n_train=n_train, n_valid=1, n_test=1).train) == n_train
    with pytest.raises(
        DataError, match=rf"{possible // 2 + 1} examples wanted.* half of {possible} "
    ) as caught:
        load(task, toy=toy, n_train=n_train + 1, n_valid=1, n_test=1)
    assert "data.toy.max_length" in (caught.value.hint or "")
