"""The fixture `clearml_server`, for anybody whose tests need a ClearML server. pytest finds it by its entry point."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stepwise_server.testing import LocalServer


@pytest.fixture
def clearml_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalServer]:
    """A ClearML server of the test's own, to which the SDK of this process and of those it starts reports.

    Every variable CLEARML_… and TRAINS_… is replaced for as long as the test runs, and the configuration file of
    the person who runs it is out of sight.
    """
    from stepwise_server.installation import read_client
    from stepwise_server.ops.clients import CONFIG, variables, write_files
    from stepwise_server.testing import LocalServer

    folder = tmp_path / "clearml-server"
    with LocalServer(folder) as server:
        for name in list(os.environ):
            if name.startswith(("CLEARML_", "TRAINS_")):
                monkeypatch.delenv(name)
        write_files(folder, server.url)
        monkeypatch.setenv("CLEARML_CONFIG_FILE", str(folder / CONFIG))
        monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "clearml-cache"))
        for name, value in variables(server.url, read_client(folder)).items():
            monkeypatch.setenv(name, value)
        # The SDK would report from a fork of this process, whose copies of the server's threads stand still.
        monkeypatch.setenv("CLEARML__SDK__DEVELOPMENT__REPORT_USE_SUBPROCESS", "false")
        _forget_sessions()
        try:
            yield server
        finally:
            _forget_sessions()


def _forget_sessions() -> None:
    """Make the SDK, if it is loaded, close its task and log in anew: it keeps one session for the process."""
    clearml: Any = sys.modules.get("clearml")
    interface: Any = sys.modules.get("clearml.backend_interface.base")
    if clearml is None or interface is None:
        return
    task = clearml.Task.current_task()
    if task is not None:
        task.close()
    interface.InterfaceBase._default_session = None
    clearml.Task._report_subprocess_enabled = False  # its configuration may have been read already
