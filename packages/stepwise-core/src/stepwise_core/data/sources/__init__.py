"""The table of sources: every value of `data.name`, what it is, and the function that loads it."""

from collections.abc import Callable
from dataclasses import dataclass

from stepwise_core.config.schema import DataConfig
from stepwise_core.data.dataset import Dataset, Example
from stepwise_core.data.sources.dates import load_dates
from stepwise_core.data.sources.parallel import load_parallel
from stepwise_core.data.sources.toy import load_toy


@dataclass(frozen=True)
class Source:
    """One kind of data.

    Attributes:
        summary: what it is, in one line.
        example: what a pair looks like.
        load: makes or reads the dataset; raises DataError.
    """

    summary: str
    example: Example
    load: Callable[[DataConfig], Dataset]


SOURCES: dict[str, Source] = {
    "dates": Source(
        "dates written in many languages, to be turned into ISO dates",
        Example("mardi 28 janvier 1975", "1975-01-28"),
        load_dates,
    ),
    "copy": Source("letters to be repeated as they are", Example("hqab", "hqab"), load_toy),
    "reverse": Source("letters to be written backwards", Example("hqab", "baqh"), load_toy),
    "sort": Source("letters to be put into alphabetical order", Example("hqab", "abhq"), load_toy),
    "addition": Source("two numbers to be added", Example("347+58", "405"), load_toy),
    "parallel": Source(
        "two aligned text files per split, one sentence a line, plain or gzip",
        Example("Ein Hund läuft im Schnee .", "A dog runs in the snow ."),
        load_parallel,
    ),
}
