"""`python bench/server/page.py`: how long the page takes in a browser, with 10,000 runs and a million points."""

import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
from serving import Client, serving

RUNS, POINTS, BATCH = 10_000, 1_000_000, 5000
OPENINGS = 5
GOAL_TABLE_MS, GOAL_CHART_MS, GOAL_BYTES = 500, 1000, 1_500_000


def main() -> None:
    """Fill a server, look at it, and print the figures."""
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        sys.exit("error: no chromium and no google-chrome on the PATH\n  next: apt-get install chromium")
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as port:
        folder = Path(name)
        run = _fill(Client(port, folder=folder))
        with sync_playwright() as driver:
            chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
            page = chromium.new_page(viewport={"width": 1300, "height": 850})
            _look(page, f"http://127.0.0.1:{port}", folder, run)
            chromium.close()


def _look(page: Page, url: str, folder: Path, run: str) -> None:
    client = json.loads((folder / "client.json").read_text())
    page.goto(f"{url}/login")
    page.fill("[name=user]", client["username"])
    page.fill("[name=password]", client["password"])
    page.click("button[type=submit]")
    page.wait_for_selector("tbody tr")
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[int] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    address = f"{url}/projects/*/tasks/{run}/scalars"
    first = _timed(lambda: page.goto(address), lambda: page.wait_for_selector(".scatterlayer .trace"))
    sent = sum(sizes)
    table = [
        _timed(lambda: page.goto(url), lambda: page.wait_for_selector("tbody tr")) for _ in range(OPENINGS)
    ]
    chart = [
        _timed(lambda: page.goto(address), lambda: page.wait_for_selector(".scatterlayer .trace"))
        for _ in range(OPENINGS)
    ]
    print(f"table of {RUNS:,} runs: {statistics.median(table):.0f} ms (goal {GOAL_TABLE_MS})")
    print(f"chart of {POINTS:,} points: {statistics.median(chart):.0f} ms, the first time {first:.0f} ms "
          f"(goal {GOAL_CHART_MS})")  # fmt: skip
    print(f"bytes of a first view with a chart: {sent:,} (goal {GOAL_BYTES:,})")
    loaded, worst = _scroll(page, url)
    print(f"scrolling to run {loaded:,}: longest time between two frames {worst:.0f} ms")


def _timed(begin: Callable[[], object], end: Callable[[], object]) -> float:
    started = time.perf_counter()
    begin()
    end()
    return (time.perf_counter() - started) * 1000


def _scroll(page: Page, url: str) -> tuple[int, float]:
    """Scroll down for ten seconds; return how many runs were loaded and the longest pause between frames, in ms."""
    page.goto(url)
    page.wait_for_selector("tbody tr")
    worst = page.evaluate(
        """() => new Promise((done) => {
          let worst = 0, last = performance.now();
          const begin = last;
          const frame = (now) => {
            worst = Math.max(worst, now - last);
            last = now;
            scrollBy(0, 300);
            now - begin < 10000 ? requestAnimationFrame(frame) : done(worst);
          };
          requestAnimationFrame(frame);
        })"""
    )
    told = page.locator("main .bar span.soft").first.inner_text()
    return int("".join(filter(str.isdigit, told)) or 0), float(worst)


def _fill(client: Client) -> str:
    """Add the runs, and a million points to one of them; return its id."""
    project = client.call("projects.create", name="bench/page")["id"]
    for number in range(RUNS):
        run: str = client.call("tasks.create", name=f"run {number}", type="training", project=project)["id"]
    for start in range(0, POINTS, BATCH):
        head = {"type": "training_stats_scalar", "task": run, "metric": "loss", "variant": "train"}
        events = (
            {**head, "iter": step, "value": 1 / (1 + step % 977)} for step in range(start, start + BATCH)
        )
        client.send("events.add_batch", "\n".join(map(json.dumps, events)).encode())
    return run


if __name__ == "__main__":
    main()
