"""A ClearML-compatible server in one process. A skeleton so far: it has its version and no server yet.

It will serve the ClearML REST API, files and a web page from one port, on SQLite.
"""

from importlib.metadata import version

__version__ = version("stepwise-server")
