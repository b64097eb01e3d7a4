"""A transformer you can read: components, models, data, training, decoding and pictures."""

from importlib.metadata import version

__version__ = version("stepwise-core")
