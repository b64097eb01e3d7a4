"""Every method of the logger leaves an event with exactly the values it was given."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from stepwise_track import (
    ExperimentLogger,
    TrackError,
    log_metrics_to_clearml,
    log_training_experiment,
    read_journal,
    read_run,
)
from stepwise_track.events import (
    Event,
    Histogram,
    Parameters,
    RunFinished,
    RunStarted,
    Scalars,
    SingleValues,
    Table,
    Text,
)

Logged = Callable[[ExperimentLogger], list[Event]]


def test_the_start_says_what_the_run_is(tmp_path: Path) -> None:
    with ExperimentLogger(
        "a/project",
        "größer β",
        {"model": {"d_model": 64}},
        ["one", "two"],
        "goal\nhypothesis",
        "team",
        runs_dir=tmp_path,
        model_type="transformer",
        dataset="dates",
    ) as logger:
        pass
    started, parameters, _, finished = [one.event for one in read_journal(logger.run_dir / "journal")]
    assert isinstance(started, RunStarted)
    assert (started.project_name, started.experiment_name) == ("a/project", "größer β")
    assert (started.model_type, started.dataset, started.entity) == ("transformer", "dates", "team")
    assert (started.tags, started.notes) == (("one", "two"), "goal\nhypothesis")
    assert parameters == Parameters({"model": {"d_model": 64}})
    assert finished == RunFinished("completed")
    assert logger.run_dir == tmp_path / "größer-β"


def test_curves(logger: ExperimentLogger, logged: Logged) -> None:
    logger.log_training_step(0.5, 1e-4, 1.2, step=100, epoch=1, **{"gradient_norm/encoder.0": 0.25})
    logger.log_training_step(loss=math.nan, learning_rate=None, step=101, speed=math.inf)
    logger.log_validation_step(0.4, 1.5, step=101, epoch=1.5, exact_match=0.99)
    logger.log_epoch(1, train_loss=0.6, val_loss=0.7, seconds=12)
    logger.log_custom_metric("Training Progress/token_recall", 0.75, step=3, reason="example")
    first, second, *rest = logged(logger)
    assert first == Scalars(
        {
            "train/loss": 0.5,
            "train/learning_rate": 1e-4,
            "train/gradient_norm": 1.2,
            "train/gradient_norm/encoder.0": 0.25,
        },
        step=100,
        epoch=1,
    )
    assert isinstance(second, Scalars) and math.isnan(second.values.pop("train/loss"))
    assert second == Scalars({"train/speed": math.inf}, step=101)
    assert rest == [
        Scalars(
            {"validation/loss": 0.4, "validation/perplexity": 1.5, "validation/exact_match": 0.99}, 101, 1.5
        ),
        Scalars({"epoch/train_loss": 0.6, "epoch/val_loss": 0.7, "epoch/seconds": 12}, 101, 1, axis="epoch"),
        Scalars({"Training Progress/token_recall": 0.75}, 3, info={"reason": "example"}),
    ]


def test_parameters_and_final_values(logger: ExperimentLogger, logged: Logged) -> None:
    logger.log_hyperparameters({"model": {"n_heads": 8}, "$odd": [1, None, "ž"]})
    logger.log_single_value("num_examples", 1000)
    logger.log_experiment_summary(final_loss=0.25, best_checkpoint="step-9", converged=True)
    log_metrics_to_clearml(logger, {"accuracy": 0.95, "f1_score": 0.93})
    assert logged(logger) == [
        Parameters({"model": {"n_heads": 8}, "$odd": [1, None, "ž"]}),
        SingleValues({"num_examples": 1000}),
        SingleValues({"final_loss": 0.25}),
        Parameters({"summary": {"best_checkpoint": "step-9", "converged": True}}),
        SingleValues({"accuracy": 0.95}),
        SingleValues({"f1_score": 0.93}),
        Table("Final Metrics", ("Metric", "Value"), (("accuracy", 0.95), ("f1_score", 0.93))),
    ]


def test_an_ablation_is_a_table_and_parameters(logger: ExperimentLogger, logged: Logged) -> None:
    logger.log_hyperparameter_ablation(
        "attention_heads",
        baseline_metrics={"loss": 0.5, "perplexity": 1.5},
        ablated_metrics={"loss": 0.75, "bleu": 30},
        ablation_config={"num_heads": 4},
        step=100,
    )
    assert logged(logger) == [
        Parameters({"ablation": {"attention_heads": {"num_heads": 4}}}),
        Table(
            "ablation/attention_heads",
            ("metric", "baseline", "ablated", "change"),
            (("loss", 0.5, 0.75, 0.25), ("perplexity", 1.5, None, None), ("bleu", None, 30, None)),
            step=100,
        ),
    ]


def test_texts(logger: ExperimentLogger, logged: Logged) -> None:
    logger.log_text("note", "two\nlines, \u2028 and \ud800 and 日本")
    logger.log_text_generation("The future", "is bright", temperature=0.8, top_p=0.9, max_tokens=50, step=7)
    settings = {"prompt": "The future", "temperature": 0.8, "top_p": 0.9, "max_tokens": 50}
    assert logged(logger) == [
        Text("note", "two\nlines, \u2028 and \ud800 and 日本"),
        Text("text_generation", "is bright", 7, settings),
    ]


def test_tables_from_mappings_lists_and_frames(logger: ExperimentLogger, logged: Logged) -> None:
    class Frame:  # what this package uses of a pandas DataFrame
        columns = ("a", "b")

        def to_dict(self, orient: str) -> list[dict[str, object]]:
            assert orient == "records"
            return [{"a": 1, "b": "x"}]

    logger.log_table("mappings", [{"a": 1}, {"b": Path("p"), "a": 2.5}], step=3)
    logger.log_table("lists", [[1, None], ["x", True]], ["left", "right"])
    logger.log_table("frame", Frame())
    with pytest.raises(TrackError, match="'odd' has 2 columns, but a row of 1 cells"):
        logger.log_table("odd", [[1, 2], [3]], ["left", "right"])
    assert logged(logger) == [
        Table("mappings", ("a", "b"), ((1, None), (2.5, "p")), 3),
        Table("lists", ("left", "right"), ((1, None), ("x", True))),
        Table("frame", ("a", "b"), ((1, "x"),)),
    ]


def test_histograms_count_every_value_once(logger: ExperimentLogger, logged: Logged) -> None:
    torch = pytest.importorskip("torch")
    logger.log_histogram("plain", [0.0, 1.0, 1.0, math.nan, math.inf], step=5)
    logger.log_histogram("weights", torch.linspace(-1, 1, 640, dtype=torch.bfloat16, requires_grad=True))
    logger.log_histogram("nothing", [math.nan])
    plain, weights, nothing = logged(logger)
    assert isinstance(plain, Histogram) and isinstance(weights, Histogram) and isinstance(nothing, Histogram)
    assert (plain.edges[0], plain.edges[-1], plain.not_finite, plain.step) == (0.0, 1.0, 2, 5)
    assert (plain.counts[0], plain.counts[-1], sum(plain.counts)) == (1, 2, 3)
    assert len(weights.edges) == len(weights.counts) + 1 and sum(weights.counts) == 640
    assert (sum(nothing.counts), nothing.not_finite) == (0, 1)


def test_wrong_values_are_refused_and_leave_no_trace(logger: ExperimentLogger, logged: Logged) -> None:
    with pytest.raises(TrackError, match="'loss' must be a number"):
        logger.log_training_step(loss="low", learning_rate=1, step=1)
    with pytest.raises(TrackError, match="'accuracy' must be a number"):
        logger.log_validation_step(loss=1, step=1, accuracy=[1, 2])
    with pytest.raises(TrackError, match="'step' must be a whole number"):
        logger.log_training_step(loss=1, learning_rate=1, step=-1)
    with pytest.raises(TrackError, match="'epoch' must be a number"):
        logger.log_training_step(loss=1, learning_rate=1, step=1, epoch="first")
    with pytest.raises(TrackError, match="'x' must be a number"):
        logger.log_single_value("x", None)
    assert logged(logger) == []


def test_log_training_experiment_describes_the_model(tmp_path: Path) -> None:
    class TinyNet:
        def parameters(self) -> list[SimpleNamespace]:
            sizes = [(6, True), (4, False)]
            return [SimpleNamespace(numel=lambda n=n: n, requires_grad=grad) for n, grad in sizes]

        def __str__(self) -> str:
            return "TinyNet(two layers)"

    config = {"logging": {"project_name": "p", "tags": ["a", "b"], "notes": "why"}, "seed": 1}
    with log_training_experiment(
        config, TinyNet(), tags=["b", "c"], runs_dir=tmp_path, dataset="d"
    ) as logger:
        pass
    journal = read_run(logger.run_dir)
    started = journal.records[0].event
    assert isinstance(started, RunStarted)
    assert (started.project_name, started.tags, started.notes) == ("p", ("a", "b", "c"), "why")
    assert logger.name.startswith("tinynet_d_")
    assert journal.parameters() == config
    assert journal.single_values() == {"num_parameters": 10, "num_trainable_parameters": 6}
    assert Text("model", "TinyNet(two layers)") in [record.event for record in journal.records]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("__init__", "project_name experiment_name config tags notes entity backends"),
        ("log_training_step", "loss learning_rate gradient_norm step epoch metrics"),
        ("log_validation_step", "loss perplexity step epoch metrics"),
        ("log_epoch", "epoch train_loss val_loss metrics"),
        ("log_hyperparameters", "hyperparameters"),
        ("log_custom_metric", "metric_name value step info"),
        (
            "log_checkpoint",
            "model optimizer epoch step loss filepath is_best additional_metadata",
        ),
        ("log_text_generation", "prompt generated_text temperature top_p max_tokens step"),
        (
            "log_hyperparameter_ablation",
            "ablation_name baseline_metrics ablated_metrics ablation_config step",
        ),
        ("log_experiment_summary", "values"),
        ("log_figure", "name figure step"),
        ("log_image", "name image step"),
        ("log_histogram", "name values step"),
        ("log_table", "name rows columns step"),
        ("log_text", "name text step"),
        ("log_artifact", "name value metadata step"),
        ("log_model", "name path framework tags metadata config labels publish"),
        ("log_single_value", "name value"),
        ("log_config_object", "name config"),
        ("log_dataset", "name version project info"),
        ("watch", "model every histograms prefix"),
        ("finish", "status"),
    ],
)
def test_methods_have_the_names_and_arguments_that_scripts_know(method: str, arguments: str) -> None:
    parameters = inspect.signature(getattr(ExperimentLogger, method)).parameters
    assert set(arguments.split()) <= set(parameters)
    assert list(parameters)[1] == arguments.split(maxsplit=1)[0]
