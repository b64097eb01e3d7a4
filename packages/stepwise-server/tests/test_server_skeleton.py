"""The server is a skeleton so far: it can be installed and knows its version."""

from importlib.metadata import version

import stepwise_server


def test_version_is_the_one_that_was_installed() -> None:
    assert stepwise_server.__version__ == version("stepwise-server")
