"""`stepwise attention`: the pictures it writes, the translation it prints, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from stepwise_cli.main import main
from stepwise_core.config import load_config
from stepwise_core.runs import create_run
from stepwise_core.training.loop import Trainer
from stepwise_core.training.session import start_session

TEXT = "2045年5月23日"
SMALL = [
    *("model.d_model=16", "model.n_heads=2", "model.n_encoder_layers=2", "model.n_decoder_layers=1"),
    *("data.n_train=200", "data.n_valid=10", "data.n_test=10", "training.batch_size=32"),
    *("training.epochs=1", "training.max_steps=3", "training.device=cpu"),
]


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    resolved = load_config("dates", SMALL, environ={})
    run = create_run(folder, "small-run", resolved)
    Trainer(start_session(resolved.config, run)).run()
    return folder


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_draws_every_kind_and_layer_into_the_run(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs_dir.rglob("*") if path.is_file()}
    assert main(["attention", "--text", TEXT, "--runs-dir", str(runs_dir)]) == 0
    translation, *printed = capsys.readouterr().out.splitlines()
    assert main(["translate", TEXT, "--runs-dir", str(runs_dir), "--beam-size", "1"]) == 0
    assert translation == capsys.readouterr().out.rstrip("\n")
    paths = [Path(line) for line in printed]
    names = ["encoder", "encoder-layer-0", "encoder-layer-1", "decoder-layer-0", "cross-layer-0"]
    assert [path.name for path in paths] == [f"{name}.{end}" for name in names for end in ("png", "svg")]
    assert {path.parent.parent for path in paths} == {runs_dir / "small-run" / "pictures" / "attention"}
    for path in paths[::2]:
        assert imread(path)[..., :3].std() > 0.05, f"{path} is blank"
    assert {path: path.stat().st_mtime_ns for path in before} == before, "the run itself was changed"


def test_target_is_looked_at_instead_of_the_translation(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--target", "1987-06-12", "--kind", "cross", "--format", "svg", "--output", str(tmp_path)]
    assert main(["attention", "small", "--text", TEXT, *options, "--runs-dir", str(runs_dir)]) == 0
    assert capsys.readouterr().out.splitlines() == ["1987-06-12", str(tmp_path / "cross-layer-0.svg")]
    picture = (tmp_path / "cross-layer-0.svg").read_text(encoding="utf-8")
    assert "Rows: &lt;bos&gt; 1 9 8 7 - 0 6 - 1 2. Columns: 2 0 4 5 年 5 月 2 3 日 &lt;eos&gt;." in picture


def test_chosen_layers_and_heads_keep_their_numbers(runs_dir: Path, tmp_path: Path) -> None:
    options = ["--kind", "encoder", "--layers", "1", "--heads", "1", "--format", "png,svg"]
    command = ["attention", "latest", "--text", TEXT, *options, "--output", str(tmp_path)]
    assert main([*command, "--runs-dir", str(runs_dir)]) == 0
    assert files_of(tmp_path) == {"encoder-layer-1.png", "encoder-layer-1.svg"}
    picture = (tmp_path / "encoder-layer-1.svg").read_text(encoding="utf-8")
    assert "<!-- head 1 · " in picture
    assert "<!-- head 0 · " not in picture


def test_another_text_gets_another_folder(runs_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = set()
    for text in ("12/06/1987", "12-06-1987", "12 06 1987"):
        options = ["--kind", "decoder", "--format", "svg", "--runs-dir", str(runs_dir)]
        assert main(["attention", "--text", text, *options]) == 0
        folders.add(Path(capsys.readouterr().out.splitlines()[-1]).parent)
    assert len(folders) == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--text", TEXT, "--layers", "5"], 2, "there is no layer 5: layers of the encoder are 0 to 1"),
        (["--text", TEXT, "--layers", "1"], 2, "there is no layer 1: layers of the decoder are 0 to 0"),
        (["--text", TEXT, "--heads", "2"], 2, "there is no head 2: heads of the encoder are 0 to 1"),
        (["--text", TEXT, "--layers", "first"], 2, "'first' is no list of numbers such as 0,2"),
        (["--text", TEXT, "--layers", "-1"], 2, "'-1' is no list of numbers"),
        (["--text", TEXT, "--format", "gif"], 2, "'gif' is not one of png, svg"),
        ([], 2, "--text"),
        (["--text", ""], 6, "empty"),
        (["--text", "9" * 100], 6, "at most 64"),
        (["--text", TEXT, "--target", "9" * 100], 6, "64"),
        (["no-such-run", "--text", TEXT], 1, "no run 'no-such-run'"),
    ],
)
def test_bad_input_is_one_clear_line(
    runs_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    command = ["attention", *arguments, "--output", str(tmp_path / "new"), "--runs-dir", str(runs_dir)]
    assert main(command) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written(
    runs_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    command = ["attention", "--text", TEXT, "--output", str(tmp_path / "file" / "new")]
    assert main([*command, "--runs-dir", str(runs_dir)]) == 1
    assert "cannot write the picture" in capsys.readouterr().err


def test_rows_of_the_drawn_weights_sum_to_one(runs_dir: Path) -> None:
    """From the checkpoint to the figure: what is drawn is a distribution per token that looks."""
    from stepwise_core.decoding.attention import attend_text
    from stepwise_core.pictures.text_attention import KINDS, attention_maps
    from stepwise_core.trained import load_run

    run = load_run(runs_dir / "small-run")
    found = attend_text(run.model, run.tokenizers, TEXT)
    for kind in KINDS:
        maps = attention_maps(found, kind)
        np.testing.assert_allclose(maps.weights.sum(-1), 1, rtol=1e-5)
        assert maps.weights.shape[2:] == (len(maps.query_tokens), len(maps.key_tokens))
    assert (np.triu(attention_maps(found, "decoder").weights, k=1) == 0).all(), "the decoder sees the future"
