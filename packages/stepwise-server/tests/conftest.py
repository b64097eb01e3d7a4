"""A real server, one for each test module, whose every answer is parsed as the SDK would."""

from collections.abc import Iterator

import pytest
from checked_server import CheckedServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CheckedServer]:
    with CheckedServer(tmp_path_factory.mktemp("server")) as running:
        yield running
