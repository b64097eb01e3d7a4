"""`stepwise evaluate`: what it scores, writes and prints."""

import json
import re
from pathlib import Path

import pytest
from tiny_command import Fails

from stepwise_cli.main import main
from stepwise_core.evaluation import Evaluation


def evaluate(run: Path, *arguments: str) -> Evaluation:
    assert main(["evaluate", "tiny", "--runs-dir", str(run.parent), *arguments]) == 0
    return Evaluation.load(run / "evaluation.json")


def test_it_gives_the_scores_of_the_end_of_the_training(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Evaluation.load(run / "evaluation.json")
    (run / "evaluation.json").unlink()
    found = evaluate(run)
    timeless = [{**one.scores, "duration_seconds": None} for one in (before, found)]
    assert timeless[0] == timeless[1]
    assert (found.examples, found.signatures, found.decoding) == (
        before.examples,
        before.signatures,
        "greedy",
    )
    assert f"{found.scores['perplexity']:.3f}" in capsys.readouterr().out


def test_json_is_for_programs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = evaluate(run, "--json")
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"scores": found.scores, "signatures": found.signatures}


def test_split_decoding_and_number_can_be_chosen(run: Path) -> None:
    found = evaluate(
        run, "--split", "valid", "--beam-size", "3", "--length-penalty", "1", "--max-examples", "7"
    )
    assert (found.split, found.decoding) == ("valid", "beam 3, length penalty 1.0")
    assert found.scores["num_examples"] == len(found.examples) == 7
    assert found.scores["dataset_num_eval"] == 20
    assert evaluate(run, "--max-examples", "99").scores["num_examples"] == 20


def test_a_checkpoint_can_be_chosen(run: Path, fails: Fails) -> None:
    assert evaluate(run, "--checkpoint", "step-00000016").checkpoint == "step-00000016"
    message = fails(1, "evaluate", "--checkpoint", "step-00000003", "--runs-dir", run.parent)
    assert "no checkpoint step-00000003; there: best, latest, step-00000016" in message


def test_an_altered_checkpoint_is_refused_and_the_scores_stay(run: Path, fails: Fails) -> None:
    before = (run / "evaluation.json").read_bytes()
    file = run / "checkpoints" / "step-00000016" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    message = fails(1, "evaluate", "--runs-dir", run.parent)
    assert re.match(r"error: \S*model.safetensors is truncated or altered", message)
    assert (run / "evaluation.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--split", "dev"], 2), (["--beam-size", "0"], 2), (["--device", "tpu"], 3), (["moon"], 1)],
)
def test_wrong_choices(run: Path, fails: Fails, arguments: list[str], code: int) -> None:
    fails(code, "evaluate", "--runs-dir", run.parent, *arguments)
