"""The `stepwise` command: train, resume, evaluate, look at attention, compare runs."""

from importlib.metadata import version

__version__ = version("stepwise-cli")
