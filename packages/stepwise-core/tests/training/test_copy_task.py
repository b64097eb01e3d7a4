"""The smallest proof that everything together works: copying is learned without a single wrong token."""

from pathlib import Path

import pytest
from tiny import train

from stepwise_core.config import load_config
from stepwise_core.evaluation import evaluate
from stepwise_core.runs import create_run
from stepwise_core.trained import load_run
from stepwise_core.training.session import start_session


@pytest.mark.slow
def test_the_copy_task_reaches_every_token(tmp_path: Path) -> None:
    """The shipped configuration, on one thread: two fight over a core that somebody else uses too."""
    resolved = load_config("copy", ["training.device=cpu", "training.threads=1"], environ={})
    session = start_session(resolved.config, create_run(tmp_path, "copy", resolved))
    recorder = train(session)
    assert recorder.validations[-1].token_accuracy == 1.0
    scores = evaluate(load_run(session.folder.path), session.dataset).scores
    assert scores["num_examples"] == 1_000
    assert scores["token_accuracy"] == 1.0
    assert scores["exact_match"] == 1.0
    trained = {example.source for example in session.dataset.train}
    assert not trained & {example.source for example in session.dataset.test}
