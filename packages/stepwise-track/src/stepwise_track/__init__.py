"""One experiment logger for every tracker: typed events in a durable journal, and views on it."""

from importlib.metadata import version

__version__ = version("stepwise-track")
