"""Looking at a training changes nothing: validating, translating, logging, histograms, checkpoints."""

from pathlib import Path

import pytest
from tiny import assert_equal_checkpoints, train_run

SELDOM = ("logging.log_validation_every=1000", "logging.log_training_every=1000", "evaluation.n_samples=0",
          "logging.log_gradient_norms=false", "logging.log_memory_usage=false")  # fmt: skip
OFTEN = ("logging.log_validation_every=1", "logging.log_training_every=1", "evaluation.n_samples=4",
         "logging.log_histograms_every=1", "training.save_every=1", "training.keep_best=3")  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("training.accumulation=3", "training.gradient_clipping=0.5"),
        ("training.precision=bfloat16",),
        ("evaluation.beam_size=3", "model.attention_dropout=0.2"),
    ],
    ids=["plain", "accumulation and clipping", "bfloat16", "beam"],
)
def test_looking_at_every_step_is_equal_to_the_bit(tmp_path: Path, settings: tuple[str, ...]) -> None:
    seldom_folder, seldom = train_run(tmp_path, *settings, *SELDOM, name="seldom")
    often_folder, often = train_run(tmp_path, *settings, *OFTEN, name="often")
    assert len(seldom.validations) == 1
    assert len(often.validations) == len(often.checkpoints) == len(often.steps)
    assert often.steps[2].histograms
    assert often.steps[2].gradient_norms
    assert len(often.validations[0].samples) == 4
    assert seldom.losses == often.losses
    assert [report.gradient_norm for report in seldom.steps] == [
        report.gradient_norm for report in often.steps
    ]
    assert_equal_checkpoints(seldom_folder, often_folder)
    assert seldom.validations[-1].loss == often.validations[-1].loss
