"""A real server, one for each test module."""

from collections.abc import Iterator

import pytest

from stepwise_server.testing import LocalServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with LocalServer(tmp_path_factory.mktemp("server")) as running:
        yield running
