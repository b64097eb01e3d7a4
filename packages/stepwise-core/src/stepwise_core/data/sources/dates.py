"""Dates written the way people in some twenty countries write them, to be turned into ISO dates.

The formats come from CLDR, through babel. babel is asked once for every name of a month, a weekday and a day,
and the dates are put together from these, which is some twenty times faster.
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.localedata import locale_identifiers
from numpy.random import Generator

from stepwise_core.config.schema import DataConfig, DatesConfig
from stepwise_core.data.dataset import Dataset, Example
from stepwise_core.errors import DataError

LANGUAGES = (
    "cs", "de", "el", "en", "es", "fi", "fr", "hu", "it", "ja",
    "nl", "pl", "pt", "ro", "ru", "sv", "tr", "uk", "vi", "zh",
)  # fmt: skip
"""The built-in languages: Latin, Cyrillic, Greek and Chinese scripts, day first and year first."""

STYLES = ("full", "long", "medium", "short")
STREAM = 1  # keeps this source's random numbers apart from those of others with the same seed
NO_BREAK_SPACES = str.maketrans("\u00a0\u202f", "  ")  # CLDR has them, keyboards do not


@dataclass(frozen=True)
class DateFormat:
    """One way of writing a date.

    Attributes:
        language: CLDR locale name.
        pattern: the CLDR pattern, e.g. `EEEE d MMMM y`.
        template: the same for Python's % operator, e.g. `%(EEEE)s %(d)s %(MMMM)s %(y)s`.
        days: {field: names of the days 1 to 31}.
        months: {field: names of the months 1 to 12}.
        weekdays: {field: names of the weekdays, Monday first}.
    """

    language: str
    pattern: str
    template: str
    days: dict[str, list[str]]
    months: dict[str, list[str]]
    weekdays: dict[str, list[str]]

    def write(self, day: date, *, weekday: bool = True) -> str:
        """Write a date: what babel's `format_date` writes, with plain spaces for no-break ones.

        Args:
            day: the date, of a year with four digits.
            weekday: False leaves the name of the weekday out.
        """
        values = {"y": str(day.year)}
        for field, names in self.days.items():
            values[field] = names[day.day - 1]
        for field, names in self.months.items():
            values[field] = names[day.month - 1]
        for field, names in self.weekdays.items():
            values[field] = names[day.weekday()] if weekday else ""
        return self.template % values


def load_dates(config: DataConfig) -> Dataset:
    """Make the dates. Each day of the years belongs to one split only, however it is written.

    Raises:
        DataError: if a language is unknown, or more examples are wanted than there are.
    """
    formats = date_formats(config.dates.languages or LANGUAGES)
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, STREAM]))
    train, valid, test = _split_days(rng, config)
    return Dataset(
        "dates",
        _draw(rng, train, formats, config.n_train, "n_train"),
        _draw(rng, valid, formats, config.n_valid, "n_valid"),
        _draw(rng, test, formats, config.n_test, "n_test"),
    )


def date_formats(languages: Sequence[str]) -> list[DateFormat]:
    """Return all formats of the languages that can be told apart, in the order of the languages.

    Raises:
        DataError: if a language is unknown, or none of its formats is usable.
    """
    formats: list[DateFormat] = []
    meaning: dict[str, date] = {}
    for language in languages:
        locale = _locale(language)
        patterns = {locale.date_formats[style].pattern: locale.date_formats[style].format for style in STYLES}
        candidates = [_read_format(locale, pattern, template) for pattern, template in patterns.items()]
        usable = [format_ for format_ in candidates if format_ and _is_unambiguous(format_, meaning)]
        if not usable:
            raise DataError(
                f"data.dates.languages: {language!r} has no format with day, month and four-digit year "
                f"that is clear beside the other languages",
                hint="leave that language out",
            )
        formats += usable
    return formats


def all_days(config: DatesConfig) -> list[date]:
    """Return every day of the configured years, in order."""
    first, last = date(config.first_year, 1, 1), date(config.last_year, 12, 31)
    return [first + timedelta(days) for days in range((last - first).days + 1)]


def _split_days(rng: Generator, config: DataConfig) -> list[list[date]]:
    """Share the days out at random, in the proportions of the splits, at least one day each."""
    days = all_days(config.dates)
    n_examples = config.n_train + config.n_valid + config.n_test
    n_valid, n_test = (max(1, len(days) * n // n_examples) for n in (config.n_valid, config.n_test))
    order = rng.permutation(len(days))
    parts = np.split(order, [len(days) - n_valid - n_test, len(days) - n_test])
    return [[days[index] for index in part] for part in parts]


def _draw(rng: Generator, days: list[date], formats: list[DateFormat], n: int, key: str) -> list[Example]:
    """Draw n different pairs of a day and a format."""
    possible = len(days) * len(formats)
    if n > possible:
        raise DataError(
            f"data.{key} = {n}: these years and languages give this split {possible} examples only",
            hint=f"lower data.{key}, or widen data.dates.first_year and last_year",
        )
    chosen = rng.choice(possible, size=n, replace=False)
    return [
        Example(formats[which].write(days[day]), days[day].isoformat())
        for day, which in zip(
            (chosen // len(formats)).tolist(), (chosen % len(formats)).tolist(), strict=True
        )
    ]


def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        near = difflib.get_close_matches(language, locale_identifiers(), n=1)
        raise DataError(
            f"data.dates.languages: CLDR has no locale {language!r}",
            hint=f"did you mean {near[0]!r}?" if near else "use names such as de, fr or en_GB",
        ) from None


def _read_format(locale: Locale, pattern: str, template: str) -> DateFormat | None:
    """Ask babel for the names behind a pattern's fields; None if it is not a day, a month and a full year."""
    fields = set(_Fields().of(template))
    days = {field: [date(2001, 1, day) for day in range(1, 32)] for field in fields if field[0] == "d"}
    months = {field: [date(2001, month, 1) for month in range(1, 13)] for field in fields if field[0] in "ML"}
    weekdays = {field: [date(2001, 1, day) for day in range(1, 8)] for field in fields if field[0] in "Ec"}
    if not days or not months or fields - {*days, *months, *weekdays} != {"y"}:
        return None

    def names(table: dict[str, list[date]]) -> dict[str, list[str]]:
        return {
            field: [format_date(day, field, locale).translate(NO_BREAK_SPACES) for day in examples]
            for field, examples in table.items()
        }

    return DateFormat(
        str(locale), pattern, template.translate(NO_BREAK_SPACES), names(days), names(months), names(weekdays)
    )


class _Fields(dict[str, str]):
    """Collects the names that a % template asks for."""

    def of(self, template: str) -> list[str]:
        _ = template % self
        return list(self)

    def __missing__(self, field: str) -> str:
        self[field] = ""
        return ""


def _is_unambiguous(format_: DateFormat, meaning: dict[str, date]) -> bool:
    """Whether no text of this format already means another day; if so, its texts are added to `meaning`.

    One leap year stands for all years, since every text shows its year with four digits. Weekdays are left
    out: they move from year to year and must not be what tells two texts apart.
    """
    texts = {
        day: format_.write(day, weekday=False)
        for day in all_days(DatesConfig(first_year=2000, last_year=2000))
    }
    clear = len(set(texts.values())) == len(texts) and all(
        meaning.get(text, day) == day for day, text in texts.items()
    )
    if clear:
        meaning.update((text, day) for day, text in texts.items())
    return clear
