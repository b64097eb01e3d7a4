"""A ClearML-compatible server in one process."""

from importlib.metadata import version

__version__ = version("stepwise-server")
