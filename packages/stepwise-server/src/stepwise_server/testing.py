"""A ClearML server for tests: real, on a free port of loopback, in a folder of its own.

pytest has it as the fixture `clearml_server` where stepwise-server is installed:

    def test_training_reports_its_loss(clearml_server):
        subprocess.run([sys.executable, "train.py"], env=clearml_server.environment, check=True)
        (task,) = clearml_server.tasks(project="my project")
        assert clearml_server.scalars(task)["loss"]["train"][-1] == (99, 0.1)

Anything else uses it as a context manager: `with LocalServer(folder) as server: …`
"""

import http.client
import json
import os
import re
import threading
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import quote

import uvicorn

from stepwise_server.app import create_app
from stepwise_server.installation import client_credentials, open_services, read_client
from stepwise_server.ops.clients import variables
from stepwise_server.run import listen
from stepwise_server.services import Services, Settings


class ApiFailure(Exception):
    """An API call that was answered with an error.

    Attributes:
        code: `result_code`.
        subcode: `result_subcode`.
        message: `result_msg`.
    """

    def __init__(self, code: int, subcode: int, message: str) -> None:
        super().__init__(f"{code}/{subcode}: {message}")
        self.code, self.subcode, self.message = code, subcode, message


class Reported(Protocol):
    """Something with the id of a task, such as a `clearml.Task`."""

    @property
    def id(self) -> str:
        """The id."""


AnyTask = str | Mapping[str, Any] | Reported
"""A task: its id, its document, or a `clearml.Task`."""


class LocalServer:
    """A running server; a context manager.

    Args:
        folder: its data folder, kept at the end.
        port: where it listens; 0 takes a free one.
        open_reads: whether files may be read without a token.

    Attributes:
        url: where it listens.
        services: its inside, to look at the database.
    """

    services: Services

    def __init__(self, folder: Path, *, port: int = 0, open_reads: bool = False) -> None:
        self._listener = listen("127.0.0.1", port)
        port = self._listener.getsockname()[1]
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.settings = Settings(folder, port=port, url=self.url, open_reads=open_reads)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stepwise-server", daemon=True)
        self._token: str | None = None
        self._failure: BaseException | None = None

    def _run(self) -> None:
        try:
            with open_services(self.settings) as self.services:
                config = uvicorn.Config(
                    create_app(self.services),
                    http="httptools",
                    ws="none",
                    lifespan="off",
                    log_config=None,
                    timeout_graceful_shutdown=5,
                )
                self._server = uvicorn.Server(config)
                self._ready.set()
                self._server.run(sockets=[self._listener])
        except BaseException as error:
            self._failure = error
            self._listener.close()
            self._ready.set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(30)
        if self._failure:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for a process that reports to this server.

        The SDK reports from a thread then: the process that it forks for that now and then never ends. What an
        SDK in this process has left in its own environment would make the other take itself for a child of it.
        """
        ours = {
            name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "TRAINS_"))
        }
        steady = {"CLEARML__SDK__DEVELOPMENT__REPORT_USE_SUBPROCESS": "false"}
        return {**ours, **steady, **variables(self.url, read_client(self.settings.folder))}

    def request(
        self,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        method: str = "POST",
    ) -> tuple[int, bytes]:
        """Send one HTTP request; return status and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def login(self, user: str, secret: str) -> str:
        """Return a token for a key with its secret, or a user with a password."""
        basic = b64encode(f"{user}:{secret}".encode()).decode()
        token: str = self.call("auth.login", {}, {"Authorization": f"Basic {basic}"})["token"]
        return token

    def api(self, endpoint: str, **params: Any) -> Any:
        """Call an endpoint as the user of the generated key, and return its `data`.

        Raises:
            ApiFailure: if it answers with an error.
        """
        if self._token is None:
            self._token = self.login(*client_credentials(self.settings.folder))
        return self.call(endpoint, params, {"Authorization": f"Bearer {self._token}"})

    def call(self, endpoint: str, body: Any, headers: dict[str, str]) -> Any:
        """Call an endpoint with these headers; a list is sent as lines of JSON."""
        lines = body if isinstance(body, list) else [body]
        text = "\n".join(json.dumps(line) for line in lines).encode()
        _, answer = self.request(f"/api/v2.23/{endpoint}", text, headers)
        decoded = json.loads(answer)
        meta = decoded["meta"]
        if meta["result_code"] != 200:
            raise ApiFailure(meta["result_code"], meta["result_subcode"], meta["result_msg"])
        return decoded["data"]

    def events(self, *events: dict[str, Any]) -> Any:
        """Report events, and return the answer of `events.add_batch`."""
        if self._token is None:
            self._token = self.login(*client_credentials(self.settings.folder))
        return self.call("events.add_batch", list(events), {"Authorization": f"Bearer {self._token}"})

    def tasks(self, project: str | None = None) -> list[dict[str, Any]]:
        """Return the documents of all tasks, the oldest first.

        Args:
            project: only those of the project with this full name.
        """
        query: dict[str, Any] = {"order_by": ["created"], "search_hidden": True}
        if project is not None:
            named = self.api("projects.get_all", name=f"^{re.escape(project)}$", search_hidden=True)
            if not named["projects"]:
                return []
            query["project"] = [each["id"] for each in named["projects"]]
        found: list[dict[str, Any]] = []
        while page := self.api("tasks.get_all", **query, page=len(found) // 500, page_size=500)["tasks"]:
            found += page
            if len(page) < 500:
                break
        return found

    def scalars(self, task: AnyTask) -> dict[str, dict[str, list[tuple[int, float]]]]:
        """Return every reported point: metric: variant: (iteration, value), in the order of the iterations."""
        owner = _id(task)
        known = self.api("events.get_scalar_metrics_and_variants", task=owner)["metrics"]
        found: dict[str, dict[str, list[tuple[int, float]]]] = {}
        for metric in known:
            answer: dict[str, Any] = {"scroll_id": None}
            while True:
                answer = self.api(
                    "events.scalar_metrics_iter_raw",
                    task=owner,
                    metric={"metric": metric},
                    batch_size=100_000,
                    scroll_id=answer["scroll_id"],
                )
                for variant, points in answer["variants"].items():
                    pairs = zip(points["iter"], points["y"], strict=True)
                    found.setdefault(metric, {}).setdefault(variant, []).extend(pairs)
                if not answer["returned"] or not answer.get("scroll_id"):
                    break
        return found

    def single_values(self, task: AnyTask) -> dict[str, float]:
        """Return the single values of a task by name."""
        answer = self.api("events.get_task_single_value_metrics", tasks=[_id(task)])
        return {value["variant"]: value["value"] for each in answer["tasks"] for value in each["values"]}

    def console(self, task: AnyTask) -> str:
        """Return the console log of a task."""
        lines: list[str] = []
        since: dict[str, Any] = {}
        while True:
            query = {"task": _id(task), "navigate_earlier": False, "batch_size": 5000, **since}
            events = self.api("events.get_task_log", **query)["events"]
            if not events:
                return "\n".join(lines)
            lines += [event["msg"] for event in events]
            since = {"from_timestamp": events[-1]["timestamp"]}

    def artifacts(self, task: AnyTask) -> dict[str, dict[str, Any]]:
        """Return the artifacts of a task by name; `file` reads what is behind their `uri`."""
        execution = self.api("tasks.get_by_id", task=_id(task))["task"].get("execution", {})
        return {artifact["key"]: artifact for artifact in execution.get("artifacts", [])}

    def models(self, task: AnyTask) -> list[dict[str, Any]]:
        """Return the documents of the models that a task made, the oldest first."""
        models: list[dict[str, Any]]
        models = self.api("models.get_all", task=[_id(task)], order_by=["created"])["models"]
        return models

    def file(self, url: str) -> bytes:
        """Return the content of a stored file, as from an artifact's `uri` or a model's.

        Raises:
            ApiFailure: if there is none.
        """
        if self._token is None:
            self._token = self.login(*client_credentials(self.settings.folder))
        path = quote(url.removeprefix(self.url), safe="/%")  # the SDK leaves spaces in the URIs of models
        if not path.startswith("/files/"):
            raise ApiFailure(404, 0, f"not a file of this server: {url}")
        status, content = self.request(path, None, {"Authorization": f"Bearer {self._token}"}, "GET")
        if status != 200:
            raise ApiFailure(status, 0, content.decode("utf-8", "replace"))
        return content


def _id(task: AnyTask) -> str:
    if isinstance(task, str):
        return task
    identifier: str = task["id"] if isinstance(task, Mapping) else task.id
    return identifier
