"""Bad input to a training: one clear line, its exit code, and nothing destroyed."""

import gzip
from pathlib import Path

import pytest
from tiny_command import Fails

from stepwise_cli.main import main

GOOD = [f"{letter}{other}c" for letter in "abcdefgh" for other in "abcd"]


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        (["model.d_modell=32"], ["unknown key `model.d_modell` (flag); did you mean `model.d_model`?"]),
        (["training.learning_rat=1"], ["did you mean `training.learning_rate`?"]),
        (["epochs=3"], ["unknown key `epochs`", "`training.epochs`"]),
        (["moon.phase=full"], ["unknown key `moon"]),
        (["model.d_model=wide"], ["model.d_model = 'wide' (flag): ", "integer"]),
        (["training.epochs=-1"], ["training.epochs = -1 (flag): ", "greater than 0"]),
        (["training.schedule=cosinus"], ["training.schedule = 'cosinus'", "'cosine'"]),
        (["model.d_model=30", "model.n_heads=4"], ["d_model 30 is not divisible by n_heads 4; n_heads"]),
        (["training.epochs"], ["expected key=value"]),
        (["training.warmup_steps=0", "training.schedule=noam"], ["schedule noam needs warmup_steps"]),
        (["training.device=cuda:99"], ["no device 'cuda:99' here"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and "=" in value[0] else None,
)
def test_a_wrong_setting(
    tiny_config: Path, tmp_path: Path, fails: Fails, changes: list[str], fragments: list[str]
) -> None:
    settings = [part for change in changes for part in ("--set", change)]
    message = fails(3, "train", tiny_config, *settings, "--runs-dir", tmp_path / "runs")
    for fragment in fragments:
        assert fragment in message
    assert not list(tmp_path.rglob("checkpoints"))


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("gone.yaml", None, "no configuration"),
        ("broken.yaml", b"model: [", "broken.yaml: "),
        ("broken.json", b'{"model": ', "broken.json: "),
        ("list.yaml", b"- 1\n- 2\n", "expected sections"),
        ("latin.yaml", "logging: {notes: schön}".encode("latin-1"), "latin.yaml: not UTF-8"),
    ],
)
def test_a_configuration_file_that_is_none(
    tmp_path: Path, fails: Fails, name: str, content: bytes | None, fragment: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    assert fragment in fails(3, "train", file, "--runs-dir", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_name_near_that_of_a_shipped_configuration(tmp_path: Path, fails: Fails) -> None:
    assert "did you mean `dates`?" in fails(3, "train", "datse", "--runs-dir", tmp_path)


def parallel_settings(folder: Path, **contents: bytes | None) -> list[str]:
    """Write six aligned files, or what is given instead, and return the settings that name them."""
    settings = ["--set", "data.name=parallel"]
    for split in ("train", "valid", "test"):
        for side in ("source", "target"):
            key = f"{split}_{side}"
            file = folder / key
            content = contents.get(key, "".join(f"{line}\n" for line in GOOD).encode())
            if content is not None:
                file.write_bytes(content)
            settings += ["--set", f"data.parallel.{key}={file}"]
    return settings


@pytest.mark.parametrize(
    ("key", "content", "fragment"),
    [
        ("train_source", None, "train_source: no such file"),
        ("test_target", None, "test_target: no such file"),
        ("train_target", b"one\ntwo\n", "train_target has 2"),
        ("valid_source", b"", "valid_source: the file is empty"),
        ("train_target", b"\n" * len(GOOD), "no pair has text on both sides"),
        ("train_source", b"abc\nsch\xf6n\n", "train_source, line 2: not UTF-8 (byte 0xf6"),
        ("train_source", gzip.compress(b"abc\n" * 32)[:20], "train_source, after line"),
        ("train_source", b"abc\n" * 31 + b"a" * 40 + b"\n", "example 32: the source 'aaaaaaaaaa"),
        ("train_target", b"abc\n" * 31 + b"a" * 40 + b"\n", "example 32: the target 'aaaaaaaaaa"),
        ("valid_source", b"abc\n" * 31 + b"a" * 40 + b"\n", "has 41 tokens with the end mark, the limit is 16"),
        ("test_source", b"abc\n" * 31 + b"a" * 40 + b"\n", "test_source, example 32: "),
    ],
    ids=["missing", "missing test", "unequal", "empty", "blank", "not UTF-8", "damaged gzip", "long source",
         "long target", "long validation", "long test"],
)  # fmt: skip
def test_bad_text(
    tiny_config: Path, tmp_path: Path, fails: Fails, key: str, content: bytes | None, fragment: str
) -> None:
    settings = parallel_settings(tmp_path, **{key: content})
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    message = fails(6, "train", tiny_config, *settings, "--runs-dir", tmp_path / "runs", "--run-name", "own")
    assert fragment in message
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    # The run can be resumed once the text is right.
    parallel_settings(tmp_path)
    assert main(["resume", "own", "--no-evaluate", "--runs-dir", str(tmp_path / "runs")]) == 0


def test_long_pairs_can_be_left_out_and_are_counted(
    tiny_config: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not in the test split: a score over a part of it would not be what it seems."""
    long = b"abc\n" * 29 + (b"a" * 40 + b"\n") * 3
    settings = parallel_settings(tmp_path, train_source=long, valid_target=long[-123:] + long[:-123])
    command = ["train", str(tiny_config), *settings, "--set", "data.parallel.skip_long=true"]
    assert main([*command, "--no-evaluate", "--runs-dir", str(tmp_path / "runs"), "--run-name", "own"]) == 0
    err = capfd.readouterr().err
    log = (tmp_path / "runs" / "own" / "run.log").read_text()
    for split in ("train", "valid"):
        remark = f"{split}: pairs longer than 16 tokens, left out: 3\n"
        assert f"WARNING: {remark}" in err
        assert f"WARNING {remark}" in log


def test_files_that_are_not_named(tiny_config: Path, tmp_path: Path, fails: Fails) -> None:
    message = fails(3, "train", tiny_config, "--set", "data.name=parallel", "--runs-dir", tmp_path / "runs")
    assert "parallel.train_source is needed by data.name parallel" in message
    assert not (tmp_path / "runs").exists()
