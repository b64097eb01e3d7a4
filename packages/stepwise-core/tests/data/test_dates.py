"""Dates: written as CLDR says, never ambiguous, and no day of the test seen in training."""

import re
import time
from datetime import date

import pytest
from babel.dates import format_date

from stepwise_core.config.schema import DataConfig, DatesConfig
from stepwise_core.data.dataset import Dataset, load_dataset
from stepwise_core.data.sources.dates import LANGUAGES, NO_BREAK_SPACES, all_days, date_formats
from stepwise_core.errors import DataError

SMALL = DataConfig(n_train=3_000, n_valid=200, n_test=400)


@pytest.fixture(scope="module")
def dates() -> Dataset:
    return load_dataset(SMALL)


@pytest.mark.parametrize("languages", [LANGUAGES, ("en_GB", "ko", "bg", "th", "ar", "lv", "sr-Latn", "csw")])
def test_formats_write_what_babel_writes(languages: tuple[str, ...]) -> None:
    days = [*all_days(DatesConfig())[::911], date(2000, 2, 29), date(1999, 12, 31)]
    formats = date_formats(languages)
    assert {format_.language for format_ in formats} == {name.replace("-", "_") for name in languages}
    for format_ in formats:
        for day in days:
            expected = format_date(day, format_.pattern, format_.language).translate(NO_BREAK_SPACES)
            assert format_.write(day) == expected


@pytest.mark.parametrize(
    ("language", "text", "day"),
    [
        ("fr", "mardi 28 janvier 1975", date(1975, 1, 28)),
        ("vi", "23 tháng 7, 2045", date(2045, 7, 23)),
        ("cs", "15. 2. 2019", date(2019, 2, 15)),
        ("ru", "28 января 1975 г.", date(1975, 1, 28)),  # an ordinary space, as on a keyboard
        ("zh", "1975年1月28日", date(1975, 1, 28)),
    ],
)
def test_well_known_ways_of_writing(language: str, text: str, day: date) -> None:
    assert text in {format_.write(day) for format_ in date_formats([language])}


def test_no_text_means_two_dates_in_the_whole_range() -> None:
    formats = date_formats(LANGUAGES)
    for year in range(DatesConfig().first_year, DatesConfig().last_year + 1):
        meaning: dict[str, date] = {}
        for day in all_days(DatesConfig(first_year=year, last_year=year)):
            for format_ in formats:
                assert meaning.setdefault(format_.write(day), day) == day
        # No text of another year can be the same: its only four digits in a row are its year.
        assert all(re.findall(r"\d{4,}", text) == [str(year)] for text in meaning)


def test_a_numeric_order_that_clashes_with_an_earlier_language_is_left_out() -> None:
    alone = {format_.pattern for format_ in date_formats(["es_PR"])}
    after_french = {
        format_.pattern for format_ in date_formats(["fr", "es_PR"]) if format_.language == "es_PR"
    }
    assert "MM/dd/y" in alone
    assert "MM/dd/y" not in after_french
    assert after_french


def test_twenty_languages_and_several_formats_each() -> None:
    formats = date_formats(LANGUAGES)
    assert len(LANGUAGES) == 20
    for language in LANGUAGES:
        patterns = [format_.pattern for format_ in formats if format_.language == language]
        assert len(patterns) >= 3
        assert len(set(patterns)) == len(patterns)
        assert any("EEEE" in pattern or "cccc" in pattern for pattern in patterns)


def test_a_day_is_in_one_split_only(dates: Dataset) -> None:
    train, valid, test = (
        {pair.target for pair in examples} for examples in (dates.train, dates.valid, dates.test)
    )
    assert not train & valid
    assert not train & test
    assert not valid & test


def test_sizes_and_targets(dates: Dataset) -> None:
    assert (len(dates.train), len(dates.valid), len(dates.test)) == (3_000, 200, 400)
    for example in dates.train + dates.valid + dates.test:
        day = date.fromisoformat(example.target)
        assert 1950 <= day.year <= 2049
        assert str(day.year) in example.source


def test_every_language_is_in_the_training_split(dates: Dataset) -> None:
    texts = {(pair.source, pair.target) for pair in dates.train}
    formats = date_formats(LANGUAGES)
    days = {pair.target for pair in dates.train}
    for format_ in formats:
        written = {(format_.write(date.fromisoformat(day)), day) for day in days}
        assert written & texts, format_.pattern


def test_the_seed_decides(dates: Dataset) -> None:
    again = load_dataset(SMALL)
    other = load_dataset(SMALL.model_copy(update={"seed": 1}))
    assert again.train == dates.train
    assert again.version == dates.version
    assert other.version != dates.version


def test_years_and_languages_are_respected() -> None:
    config = DataConfig(
        n_train=300,
        n_valid=20,
        n_test=20,
        dates=DatesConfig(languages=["de"], first_year=2001, last_year=2001),
    )
    texts = {format_.write(day) for format_ in date_formats(["de"]) for day in all_days(config.dates)}
    examples = load_dataset(config).train
    assert all(example.source in texts for example in examples)
    assert len({example.source for example in examples}) == 300


def test_fifty_thousand_dates_take_less_than_three_seconds() -> None:
    start = time.process_time()
    load_dataset(DataConfig())
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"dates": DatesConfig(languages=["de", "frr_XX1"])}, "no locale 'frr_XX1'", "frr"),
        ({"dates": DatesConfig(languages=["la"])}, "'la' has no format", "leave that language out"),
        (
            {
                "n_train": 5_000,
                "dates": DatesConfig(languages=["de"], first_year=2000, last_year=2000),
            },
            "data.n_train = 5000: these years and languages give this split",
            "lower data.n_train",
        ),
    ],
)
def test_impossible_settings_are_explained(settings: dict[str, object], message: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(SMALL.model_copy(update=settings))
    assert message in str(caught.value)
    assert hint in (caught.value.hint or "")
    assert caught.value.exit_code == 6
