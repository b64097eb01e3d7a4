"""What is printed is recorded, line by line, and the terminal notices nothing."""

import io
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger as log

from stepwise_track import ExperimentLogger, limits, read_run
from stepwise_track.capture.console import ConsoleCapture
from stepwise_track.capture.screen import Screen
from stepwise_track.events import Console, Event


def lines(text: str) -> list[str]:
    screen = Screen()
    screen.write(text)
    return screen.take(0.0, final=True)


def run(program: str, folder: Path, **options: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload, no-any-return]


def console_of(folder: Path) -> list[Console]:
    return [one.event for one in read_run(folder).records if isinstance(one.event, Console)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one\ntwo\n", ["one", "two"]),
        ("one\n\ntwo", ["one", "", "two"]),
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("\r 1%\r 50%\r100%\nend\n", ["100%", "end"]),
        ("\x1b[31mred\x1b[0m and \x1b]8;;http://x\x07link\x1b]8;;\x07\n", ["red and link"]),
        ("bar 1\r\x1b[2Kbar 2\r\x1b[2K\n", [""]),
        ("log\nbar 1\nbar 2\x1b[1A\x1b[2K\rBAR 1\nBAR 2\n", ["log", "BAR 1", "BAR 2"]),
        ("a\x00\x08b\n", ["ab"]),
        ("x" * 20_000 + "\n", ["x" * limits.CONSOLE_LINE_CHARS]),
        ("only\x1b[1Aone\n", ["one"]),
    ],
)
def test_what_a_screen_shows(text: str, expected: list[str]) -> None:
    assert lines(text) == expected


@given(st.text(alphabet="ab\n\r\x1b[A2K", max_size=60), st.integers(0, 60))
def test_it_does_not_matter_how_writes_are_cut(text: str, cut: int) -> None:
    screen = Screen()
    screen.write(text[:cut])
    screen.write(text[cut:])
    assert screen.take(0.0, final=True) == lines(text)


def test_a_bar_is_shown_now_and_then_and_at_its_end_once() -> None:
    screen = Screen()
    screen.write("begin\n\r10%")
    assert screen.take(100.0) == ["begin", "10%"]
    screen.write("\r20%")
    assert screen.take(105.0) == []
    screen.write("\r90%")
    assert screen.take(111.0) == ["90%"]
    screen.write("\r100%")
    assert screen.take(122.0) == ["100%"]
    screen.write("\nend\n")
    assert screen.take(123.0) == ["end"]


def test_prints_logs_and_tracebacks_are_recorded_and_shown(tmp_path: Path) -> None:
    program = (
        "import sys, logging; from loguru import logger as log; from stepwise_track import ExperimentLogger\n"
        "logging.basicConfig()\n"
        "with ExperimentLogger('p', run_dir=sys.argv[1], log_code=False) as logger:\n"
        "    print('printed', 1); print('to stderr', file=sys.stderr); sys.stdout.write('no line end')\n"
        "    logging.warning('by logging'); log.info('by loguru')\n"
        "    raise ValueError('the reason')\n"
    )
    result = run(program, tmp_path)
    assert result.stdout == "printed 1\nno line end"
    events = console_of(tmp_path)
    printed = "\n".join(event.text for event in events if event.stream == "stdout")
    told = "\n".join(event.text for event in events if event.stream == "stderr")
    assert printed == "printed 1\nno line end"
    for words in ("to stderr", "WARNING:root:by logging", "by loguru", "ValueError: the reason"):
        assert words in told and words in result.stderr
    assert "Traceback" in told and read_run(tmp_path).records[-1].event.kind == "run_finished"


def test_streams_stay_what_they_are(tmp_path: Path) -> None:
    import pty

    program = (
        "import sys; from stepwise_track import ExperimentLogger\n"
        "out, write = sys.stdout, sys.stdout.write\n"
        "with ExperimentLogger('p', run_dir=sys.argv[1], log_code=False):\n"
        "    assert sys.stdout is out and out.isatty() and out.fileno() == 1, 'inside'\n"
        "    print('on a terminal')\n"
        "assert 'write' not in vars(out) and out.write == write, 'after'\n"
    )
    terminal, child = pty.openpty()
    result = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], stdout=child, stderr=subprocess.PIPE, timeout=60
    )
    os.close(child)
    assert result.returncode == 0, result.stderr
    assert os.read(terminal, 1000) == b"on a terminal\r\n"
    os.close(terminal)
    assert [event.text for event in console_of(tmp_path)] == ["on a terminal"]


def test_a_terminal_that_cannot_show_it_or_has_gone_stops_nothing(tmp_path: Path) -> None:
    program = (
        "import os, sys; from stepwise_track import ExperimentLogger\n"
        "with ExperimentLogger('p', run_dir=sys.argv[1], log_code=False) as logger:\n"
        "    print('größer 日本', flush=True)\n"
        "    read, write = os.pipe(); os.dup2(write, 1); os.close(read)\n"
        "    for step in range(3):\n"
        "        print('to nobody', step, flush=True)\n"
        "        logger.log_training_step(1.0, step=step)\n"
        "os._exit(0)\n"
    )
    result = run(program, tmp_path, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "gr\\xf6\\xdfer \\u65e5\\u672c\n"
    text = "\n".join(event.text for event in console_of(tmp_path))
    assert text == "größer 日本\nto nobody 0\nto nobody 1\nto nobody 2"


def test_a_flood_is_cut_and_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    events: list[Event] = []
    monkeypatch.setattr(limits, "CONSOLE_INTERVAL_S", 60)
    capture = ConsoleCapture(events.append)
    capture.start()
    for number in range(50_000):
        print(f"line {number:06}")
    print("x" * (limits.CONSOLE_PENDING_CHARS + 10) + "\nlast")
    capture.stop()
    assert capsys.readouterr().out.count("\n") == 50_002
    consoles = [event for event in events if isinstance(event, Console)]
    kept = [line for event in consoles for line in event.text.split("\n")]
    assert kept[-1] == "last" and len(kept) <= limits.CONSOLE_LINES
    assert sum(event.dropped for event in consoles) + len(kept) == 50_002


def test_many_threads_print_and_nothing_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    events: list[Event] = []
    capture = ConsoleCapture(events.append)
    capture.start()
    threads = [
        threading.Thread(target=lambda n=n: [sys.stdout.write(f"{n}:{i}\n") for i in range(100)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    capture.stop()
    capture.stop()
    print("afterwards")
    kept = "\n".join(event.text for event in events if isinstance(event, Console)).split("\n")
    assert sorted(kept) == sorted(f"{n}:{i}" for n in range(8) for i in range(100))


def test_two_runs_in_one_process_end_in_any_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write = sys.stdout.write
    first = ExperimentLogger("p", run_dir=tmp_path / "1", log_code=False)
    second = ExperimentLogger("p", run_dir=tmp_path / "2", log_code=False)
    print("both")
    first.finish()
    print("second")
    second.finish()
    print("none")
    assert capsys.readouterr().out == "both\nsecond\nnone\n"
    texts = ["\n".join(one.text for one in console_of(tmp_path / name)) for name in "12"]
    assert texts == ["both", "both\nsecond"]
    assert sys.stdout.write("") == write("")


def test_streams_that_cannot_be_wrapped_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed(io.StringIO):
        __slots__ = ()

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

    monkeypatch.setattr(sys, "stdout", Fixed())
    monkeypatch.setattr(sys, "stderr", None)
    events: list[Event] = []
    capture = ConsoleCapture(events.append)
    capture.start()
    print("still printed")
    capture.stop()
    assert sys.stdout.getvalue() == "still printed\n" and events == []  # type: ignore[attr-defined]


def test_what_is_printed_is_on_record_soon_and_survives_a_forgotten_finish(tmp_path: Path) -> None:
    program = (
        "import sys, time; from stepwise_track import ExperimentLogger\n"
        "logger = ExperimentLogger('p', run_dir=sys.argv[1], log_code=False)\n"
        "print('early'); time.sleep(1.5); print(sys.argv[1] and 'late')\n"
    )
    begun = time.monotonic()
    assert run(program, tmp_path).returncode == 0 and time.monotonic() - begun < 30
    assert [event.text for event in console_of(tmp_path)] == ["early", "late"]


def test_it_can_be_switched_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ExperimentLogger("p", run_dir=tmp_path, capture_console=False):
        print("private")
        log.warning("private too")
    assert console_of(tmp_path) == []


def test_a_signal_handler_that_prints_in_the_middle_of_a_print_is_no_deadlock(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from stepwise_track import ExperimentLogger\n"
        "def alarm(*_):\n"  # one at a time: a handler within a handler would enter standard error's buffer twice
        "    print('alarm' * 1000, file=sys.stderr); signal.setitimer(signal.ITIMER_REAL, 0.0005)\n"
        "signal.signal(signal.SIGALRM, alarm)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.001)\n"
        "with ExperimentLogger('p', run_dir=sys.argv[1], log_code=False) as logger:\n"
        "    for step in range(3000):\n"
        "        sys.stdout.write('x' * 1000 + '\\n'); logger.log_training_step(1.0, step=step)\n"
        "    signal.signal(signal.SIGALRM, signal.SIG_IGN)\n"
    )
    result = run(program, tmp_path)  # to another stream: Python's own buffers refuse to be entered twice
    assert result.returncode == 0 and "Error" not in result.stderr
    journal = read_run(tmp_path)
    assert journal.damage is None and len(journal.series()["train/loss"]) == 3000
    assert console_of(tmp_path)
