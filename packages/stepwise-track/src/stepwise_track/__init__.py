"""One experiment logger for every tracker: typed events in a durable journal, and views on it."""

from importlib.metadata import version

from stepwise_track.errors import TrackError
from stepwise_track.experiment import log_metrics_to_clearml, log_training_experiment
from stepwise_track.journal import JournalReader, JournalWriter, Record, TornTail, read_journal
from stepwise_track.logger import ExperimentLogger
from stepwise_track.reader import read_run, read_series, resolve_run
from stepwise_track.summary import Comparison, MetricValue, RunSummary, compare, list_runs, summarize

__all__ = [
    "Comparison",
    "ExperimentLogger",
    "JournalReader",
    "JournalWriter",
    "MetricValue",
    "Record",
    "RunSummary",
    "TornTail",
    "TrackError",
    "compare",
    "list_runs",
    "log_metrics_to_clearml",
    "log_training_experiment",
    "read_journal",
    "read_run",
    "read_series",
    "resolve_run",
    "summarize",
]

__version__ = version("stepwise-track")
