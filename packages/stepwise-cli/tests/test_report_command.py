"""`stepwise report` writes one page that shows the runs, loads nothing, and runs nothing that a run has named."""

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwise_cli.main import main
from stepwise_cli.report.charts import charts, thin
from stepwise_track import ExperimentLogger

EVIL = "<script>alert(1)</script>\"' onload=x {{ 7 * 7 }} </script>"
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """A page, parsed: its tags are nested as they should be; every attribute and every text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def values(self, tag: str, name: str) -> list[str]:
        return [value for one, attribute, value in self.attributes if (one, attribute) == (tag, name)]

    def shown(self) -> str:
        return "\n".join(text for tag, text in self.texts if tag not in ("script", "style"))


def make_run(runs_dir: Path, name: str, d_model: int, **options: object) -> Path:
    config = {"model": {"d_model": d_model, "n_heads": 4}, "note": EVIL}
    logger = ExperimentLogger(
        "team", name, config, [EVIL], EVIL, runs_dir=runs_dir, backends=[], system_metrics=False, **options
    )  # type: ignore[arg-type]
    with logger:
        for step in range(1, 51):
            logger.log_training_step(loss=math.nan if step == 7 else d_model / step, step=step, **{EVIL: 1})
        logger.log_validation_step(loss=d_model / 100, step=50)
        logger.log_single_value("exact_match", d_model / 1000)
        logger.log_table(EVIL, [[EVIL, 0.5, math.nan]], ["name", "f1", "recall"])
        logger.log_image("attention/layer 1", np.full((4, 4, 3), d_model, dtype=np.uint8), step=50)
        logger.log_text("sample", EVIL, step=50)
    return logger.run_dir


@pytest.fixture
def page_text(tmp_path: Path) -> str:
    for name, d_model in ((EVIL, 64), ("second", 128)):
        make_run(tmp_path / "runs", name, d_model)
    (evil,) = {path.name for path in (tmp_path / "runs").iterdir()} - {"second"}
    assert main(["sync", "second", "--to", "tensorboard", "--runs-dir", str(tmp_path / "runs")]) == 0
    out = tmp_path / "new" / "page.html"
    assert main(["report", evil, "second", "-o", str(out), "--runs-dir", str(tmp_path / "runs")]) == 0
    return out.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_holds_the_runs(page_text: str, tmp_path: Path) -> None:
    page = Page(page_text)
    shown = page.shown()
    for words in ("second", "model.d_model", "exact_match", "0.128", "attention/layer 1", "1 that differ"):
        assert words in shown, words
    assert "nan" in shown and "(1 NaN or infinite)" in shown
    pictures = {
        hashlib.sha256(base64.b64decode(value.partition("base64,")[2])).hexdigest()
        for value in page.values("img", "src")
    }
    files = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "runs").rglob("*.png")}
    assert pictures == files and len(files) == 2
    assert "single precision" in shown, "the fidelity report"
    (points,) = [text for tag, text in page.texts if tag == "script" and text.startswith("[{")]
    lines = {line["label"]: line["points"] for one in json.loads(points) for line in one["lines"]}
    assert lines["second · validation/loss"] == [[50, 1.28]]
    assert lines["second · train/loss"][0] == [1, 128] and len(lines["second · train/loss"]) == 49


@pytest.mark.slow
def test_the_page_loads_nothing_and_runs_nothing_foreign(page_text: str) -> None:
    page = Page(page_text)
    sources = [
        value
        for tag, name, value in page.attributes
        if name in ("src", "srcset", "data", "action", "poster", "style", "background")
        or (name == "href" and tag != "a")
    ]
    assert sources and all(one.startswith("data:image/") for one in sources)
    assert not re.search(r"url\(|@import|import\(|fetch\(|XMLHttp", page_text)
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    scripts = [text for tag, text in page.texts if tag == "script"]
    assert len(scripts) == 2 and not any("alert(1)" in text and "<" in text for text in scripts[:1])
    assert EVIL in page.shown(), "shown as text, as it was written"


def test_one_run_alone_and_a_folder_without_curves(tmp_path: Path) -> None:
    with ExperimentLogger("team", "empty", runs_dir=tmp_path, backends=[], capture_console=False):
        pass
    assert main(["report", "empty", "-o", str(tmp_path / "a.html"), "--runs-dir", str(tmp_path)]) == 0
    assert "empty" in Page((tmp_path / "a.html").read_text()).shown()


def test_the_same_run_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ExperimentLogger("team", "mine", runs_dir=tmp_path, backends=[]).finish()
    command = ["report", "mine", "mine", "-o", str(tmp_path / "a.html"), "--runs-dir", str(tmp_path)]
    assert main(command) == 1
    assert "next: name each run once" in capsys.readouterr().err
    assert not (tmp_path / "a.html").exists()


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**9), 10**9)


@given(st.lists(st.tuples(numbers, numbers, st.just(0.0)), max_size=900))
def test_any_curve_is_drawn_within_the_chart(points: list[tuple[float, float, float]]) -> None:
    kept = thin(points)
    ends = [y for x, y, _ in points if math.isfinite(y) and math.isfinite(x)]
    assert len(kept) <= 400 and (not ends or {min(ends), max(ends)} <= {y for _, y in kept})
    for chart in charts({"run": {"train/loss": points}}):
        places = [tuple(map(float, place.split())) for place in chart.lines[0].path[1:].split("L")]
        assert all(0 <= x <= 440 and 0 <= y <= 220 for x, y in places)
