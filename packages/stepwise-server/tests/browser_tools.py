"""A browser that notices every error and every foreign host, and a server with runs to look at."""

import json
import math
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stepwise_server.auth.accounts import add_user
from stepwise_server.installation import client_credentials, read_client
from stepwise_server.testing import LocalServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
GUEST = ("guest", "only-looking-1")
HOSTILE = "</script><img src=x onerror=document.title='broken'> {{7*7}}"
SIGNALS = [f"line {number}" if number % 7 else f"error {number}" for number in range(60)]


@dataclass
class Runs:
    """What the server holds.

    Attributes:
        server: it.
        project: id of team/dates.
        ids: of three runs, the last one still going on.
    """

    server: LocalServer
    project: str
    ids: list[str] = field(default_factory=list)

    def address(self, number: int, tab: str = "") -> str:
        """Return the address of a run, or of one of its tabs."""
        return f"{self.server.url}/projects/{self.project}/tasks/{self.ids[number]}/{tab}".rstrip("/")


def png(red: int) -> bytes:
    """Return a picture of 8 by 8 pixels."""
    rows = (b"\0" + bytes([red, 90, 160]) * 8) * 8

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)
    packed = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + packed + chunk(b"IEND", b"")


def upload(server: LocalServer, name: str, content: bytes) -> str:
    """Store a file and return the URL that clients know it by."""
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'.encode()
    token = server.login(*client_credentials(server.settings.folder))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "multipart/form-data; boundary=b"}
    status, answer = server.request("/files", head + content + b"\r\n--b--\r\n", headers)
    assert status == 200, answer
    return f"{server.url}/files/{name}"


def fill(server: LocalServer) -> Runs:
    """Add a guest and three runs with everything that a tab can show."""
    name, password = GUEST
    server.services.database.write(
        lambda tx: add_user(tx, "A guest", "guest", username=name, password=password)
    )
    runs = Runs(server, server.api("projects.create", name="team/dates")["id"])
    for number, rate in enumerate((0.001, 0.003, 0.01)):
        task = _run(runs, number, rate)
        server.events(*_events(server, task, number, rate))
        if number < 2:
            server.api("tasks.completed", task=task)
    return runs


def _run(runs: Runs, number: int, rate: float) -> str:
    server = runs.server
    values = {"lr": (str(rate), "float"), "batch": ("64", "int"), "note": (HOSTILE, "str")}
    parameters = {
        name: {"section": "training", "name": name, "value": value, "type": kind}
        for name, (value, kind) in values.items()
    }
    task: str = server.api(
        "tasks.create", name=f"run {number}" if number < 2 else f"run 2 {HOSTILE}", type="training",
        project=runs.project, tags=["dates", HOSTILE], comment=f"Does it help? {HOSTILE}",
        hyperparams={"training": parameters},
        configuration={"config.yaml": {"name": "config.yaml", "value": f"a: {HOSTILE}"}},
        script={"diff": "+ a changed line", "entry_point": "train.py", "requirements": {"pip": "numpy==2\n"}},
    )["id"]  # fmt: skip
    runs.ids.append(task)
    uri = upload(server, f"dates/{task}/table.json", b'{"answer": 42}')
    weights = [[[[1000, 0], [250, 750]], [[500, 500], [500, 500]]]] * 6  # 6 layers of 2 heads
    maps = {"rows": ["<bos>", HOSTILE], "columns": ["3", "<eos>"], "weights": weights}
    kinds = {kind: maps for kind in ("encoder", "decoder", "cross")}
    document = json.dumps({"source": HOSTILE, "target": "3", "whole": True, "kinds": kinds}).encode()
    looks = {"key": "attention", "type": "custom",
             "uri": upload(server, f"dates/{task}/attention.json", document)}  # fmt: skip
    artifact = {"key": "table", "type": "dict", "uri": uri, "content_size": 14, "hash": "ab" * 32,
                "type_data": {"preview": '{"answer": 42}'}}  # fmt: skip
    server.api("tasks.add_or_update_artifacts", task=task, artifacts=[artifact, looks])
    server.api("tasks.started", task=task)
    server.api("models.create", name=f"weights {number}", uri=uri, task=task, project=runs.project)
    model = server.models(task)[0]["id"]
    server.api("tasks.add_or_update_model", task=task, name="weights", model=model, type="output")
    return task


def _events(server: LocalServer, task: str, number: int, rate: float) -> list[dict[str, Any]]:
    def point(metric: str, variant: str, step: int, value: float) -> dict[str, Any]:
        kind = {"task": task, "type": "training_stats_scalar"}
        return {**kind, "metric": metric, "variant": variant, "iter": step, "value": value}

    def plot(metric: str, *traces: dict[str, Any]) -> dict[str, Any]:
        text = json.dumps({"data": traces, "layout": {"title": HOSTILE}})
        return {
            "task": task,
            "type": "plot",
            "metric": metric,
            "variant": metric,
            "iter": 0,
            "plot_str": text,
        }

    def image(step: int) -> dict[str, Any]:
        url = upload(server, f"dates/{task}/picture {step}.png", png(step * 20))
        names = {"metric": "pictures", "variant": "first", "url": url, "key": url}
        return {"task": task, "type": "training_debug_image", "iter": step, **names}

    table = {
        "type": "table",
        "header": {"values": ["Metric", "Value"]},
        "cells": {"values": [["a", HOSTILE], [1, 2.5]]},
    }
    return [
        *(point("loss", "train", step, 3 * math.exp(-step * rate)) for step in range(0, 400, 2)),
        *(point(":monitor:machine", "cpu_usage", step, step % 50) for step in range(30)),
        point("Summary", "exact_match", -(2**31), 0.9 + number / 100),
        *({"task": task, "type": "log", "msg": line, "level": "INFO"} for line in [*SIGNALS, HOSTILE]),
        plot("table", table),
        plot("bars", {"type": "bar", "x": [1, 2, 3], "y": [3, 1, 2], "name": HOSTILE}),
        *(image(step) for step in (1, 2, 3)),
    ]


@contextmanager
def opened(browser: "Browser", server: LocalServer, **options: Any) -> Iterator["Page"]:
    """Open a page with cookies of its own, and fail at its end if it had an error or asked another host."""
    context = browser.new_context(**{"viewport": {"width": 1300, "height": 850}, **options})
    page = context.new_page()
    page.set_default_timeout(10_000)
    troubles: list[str] = []

    def request(url: str) -> None:
        if not url.startswith((server.url, "data:", "blob:")):
            troubles.append(f"asked {url}")

    def console(kind: str, text: str) -> None:
        # The browser itself notes every refused call; that one is refused is what some tests look at.
        if kind in ("error", "warning") and "Failed to load resource" not in text:
            troubles.append(f"{kind}: {text}")

    page.on("request", lambda each: request(each.url))
    page.on("console", lambda each: console(each.type, each.text))
    page.on("pageerror", lambda each: troubles.append(f"not caught: {each}"))
    try:
        yield page
        assert page.title() != "broken", "text of a run became markup"
        assert not troubles
    finally:
        context.close()


def login(page: "Page", server: LocalServer, user: str = "", password: str = "") -> None:
    """Log in by the form, as the first user if none is named."""
    client = read_client(server.settings.folder)
    page.goto(f"{server.url}/login")
    page.fill("[name=user]", user or client.username)
    page.fill("[name=password]", password or client.password)
    page.click("button[type=submit]")
    page.wait_for_selector("header.top")
