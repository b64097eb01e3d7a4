"""`stepwise translate`: one line out for each line in, from arguments and from standard input."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_command import Fails

from stepwise_cli.main import main

Give = Callable[[bytes], None]


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> Give:
    """Return a function that makes bytes the standard input."""

    def put(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    return put


def output_of(capsys: pytest.CaptureFixture[str], trained: Path, *arguments: str) -> list[str]:
    capsys.readouterr()
    assert main(["translate", "--run", str(trained), *arguments]) == 0
    return capsys.readouterr().out.split("\n")[:-1]


def test_texts_are_translated_in_their_order(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = ["abcdefgh", "abc", "hgfe"]
    together = output_of(capsys, trained, *texts)
    assert together == [output_of(capsys, trained, text)[0] for text in texts]
    assert len(set(together)) > 1


def test_line_n_in_is_line_n_out(trained: Path, capsys: pytest.CaptureFixture[str], give: Give) -> None:
    """Empty lines stay empty; only a line feed ends a line."""
    a, b = output_of(capsys, trained, "abc", "hgfe")
    give("\ufeffabc\n\n  \nhgfe\r\nab\u2028c\x0c\n\nabc".encode())
    found = output_of(capsys, trained)
    assert len(found) == 7
    assert (found[:4], found[5:]) == ([a, "", "", b], ["", a])


def test_many_lines_keep_their_order_over_batches(
    trained: Path, capsys: pytest.CaptureFixture[str], give: Give
) -> None:
    lines = [letter * (3 + number % 5) for number, letter in enumerate("abcdefghij" * 20)]
    give("\n".join(lines).encode())
    found = output_of(capsys, trained)
    assert len(found) == 200
    assert found[100:110] == output_of(capsys, trained, *lines[100:110])


def test_nothing_in_is_nothing_out(trained: Path, capsys: pytest.CaptureFixture[str], give: Give) -> None:
    give(b"")
    assert output_of(capsys, trained) == []


def test_n_best_prints_scores_best_first(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line.split("\t") for line in output_of(capsys, trained, "abc", "--n-best", "3")]
    assert len({text for _, text in rows}) == 3
    scores = [float(score) for score, _ in rows]
    assert scores == sorted(scores, reverse=True)
    assert output_of(capsys, trained, "abc", "--beam-size", "3") == [rows[0][1]]


def test_a_narrow_beam_has_no_n_best(trained: Path, fails: Fails) -> None:
    message = fails(2, "translate", "abc", "--n-best", "4", "--beam-size", "3", "--run", trained)
    assert "--n-best 4 needs a beam at least as wide; --beam-size is 3" in message


def test_input_that_is_not_utf8_names_its_line(trained: Path) -> None:
    """Through a real pipe."""
    command = [sys.executable, "-m", "stepwise_cli", "translate", "--run", str(trained)]
    done = subprocess.run(command, input=b"abc\nabd\nsch\xf6n\n", capture_output=True)
    assert (done.returncode, done.stdout) == (6, b"")
    assert done.stderr.decode().splitlines() == [
        "error: standard input, line 3: not UTF-8 (byte 0xf6)",
        "  next: convert it, e.g. iconv -f latin1 -t utf-8 FILE | stepwise translate",
    ]


def test_an_argument_that_is_not_utf8(trained: Path, fails: Fails) -> None:
    argument = b"ab\xff".decode("utf-8", "surrogateescape")  # as Python hands over what a shell gives
    assert "not UTF-8" in fails(6, "translate", argument, "--run", trained)


def test_a_line_that_is_too_long_is_named_before_anything_is_printed(
    trained: Path, capsys: pytest.CaptureFixture[str], give: Give
) -> None:
    give(b"abc\n\n" + b"abd\n" * 200 + b"a" * 16 + b"\n")
    assert main(["translate", "--run", str(trained)]) == 6
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: text 203 has 17 tokens; the model was trained for at most 16\n  next: ")


def test_characters_never_seen_are_no_error(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(output_of(capsys, trained, "日本€")) == 1


def test_without_a_run(tmp_path: Path, fails: Fails) -> None:
    fails(1, "translate", "abc", "--runs-dir", tmp_path)
