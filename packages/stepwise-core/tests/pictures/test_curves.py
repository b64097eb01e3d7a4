"""Training curves: what is drawn for whole, broken, short and missing series."""

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread

from stepwise_core.pictures.curves import save_training_curves, training_curves_figure

NOISE = np.random.default_rng(0).normal(size=1000)
LOSS = [(step, 4 * math.exp(-step / 150) + 0.05 + 0.01 * NOISE[step - 1] ** 2) for step in range(1, 1001)]


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def legend(axes: Axes) -> list[str]:
    shown = axes.get_legend()
    return [] if shown is None else [text.get_text() for text in shown.get_texts()]


def test_train_and_validation_share_a_panel_and_other_metrics_get_their_own() -> None:
    series = {
        "train/loss": LOSS,
        "validation/loss": [(500, 0.3), (1000, 0.2)],
        "train/tokens_per_second": [(1, 15_000.0), (2, 16_000.0)],
        "train/learning_rate": [(1, 1e-3), (2, 2e-3)],
        "train/gradient_norm": [(1, 1.0), (2, 0.5)],
        "train/gradient_norm/encoder.layers.0": [(1, 0.4), (2, 0.2)],
        "train/gradient_norm/decoder.layers.0": [(1, 0.3), (2, 0.1)],
        "epoch/train_loss": [(1, 2.0), (2, 1.0)],
        "gpu": [(1, 1e9), (2, 2e9)],
        "validation/token_accuracy": [(500, 0.7), (1000, 0.9)],
    }
    found = panels(training_curves_figure(series, "run"))
    names = ["loss (log)", "learning rate", "gradient norm", "tokens per second"]
    assert list(found) == [*names, "gpu", "token accuracy", "per epoch", "gradient norm by part"]
    assert legend(found["gradient norm"]) == ["train 0.5"]
    assert legend(found["gradient norm by part"]) == ["decoder.layers.0 0.1", "encoder.layers.0 0.2"]
    assert {name for name, axes in found.items() if axes.get_xlabel() == "epoch"} == {"per epoch"}
    assert legend(found["tokens per second"]) == ["train 16,000"]
    assert legend(found["loss (log)"])[1] == "validation 0.2 (lowest 0.2 at 1000, highest 0.3 at 500)"


def test_raw_values_are_thin_and_the_mean_follows_them_without_lag() -> None:
    axes = panels(training_curves_figure({"train/loss": LOSS}, "run"))["loss (log)"]
    raw, smooth = axes.lines
    assert raw.get_linewidth() < smooth.get_linewidth()
    np.testing.assert_array_equal(raw.get_ydata(), [value for _, value in LOSS])
    middle = slice(50, -50)
    noiseless = np.array([4 * math.exp(-step / 150) + 0.06 for step, _ in LOSS])
    np.testing.assert_allclose(np.asarray(smooth.get_ydata())[middle], noiseless[middle], rtol=0.15)


def test_broken_values_are_marked_and_do_not_hide_the_others() -> None:
    points = [(step, value if step % 100 else math.nan) for step, value in LOSS[:-1]] + [(1000, math.inf)]
    axes = panels(training_curves_figure({"train/loss": points}, "run"))["loss (log)"]
    *_, smooth, marks = axes.lines
    assert np.asarray(marks.get_xdata()).tolist() == list(range(100, 1001, 100))
    assert np.isfinite(np.asarray(smooth.get_ydata())).all()
    assert legend(axes)[-1] == "NaN or infinite: 10, first at step 100"


def test_nothing_but_nan(tmp_path: Path) -> None:
    series = {"train/loss": [(3, math.nan)], "validation/loss": [(3, math.nan)]}
    (axes,) = panels(training_curves_figure(series, "run")).values()
    assert legend(axes) == ["NaN or infinite: 2, first at step 3"]
    save_training_curves(series, tmp_path, "run", ["png", "svg"])


@pytest.mark.parametrize("series", [{}, {"train/loss": []}])
def test_no_points_says_so(series: dict[str, list[tuple[int, float]]]) -> None:
    figure = training_curves_figure(series, "run")
    assert "no metrics yet" in [text.get_text() for text in figure.texts]
    assert figure.axes == []


@pytest.mark.parametrize("name", ["train/loss", "validation/loss", "loss"])
def test_a_single_point_can_be_seen(name: str) -> None:
    figure = training_curves_figure({name: [(7, 2.0)]}, "run")
    (axes,) = figure.axes
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = np.asarray(canvas.buffer_rgba())
    x, y = axes.transData.transform((7, 2.0))
    assert image[image.shape[0] - 1 - int(y), int(x), :3].tolist() not in ([255] * 3, [0] * 3)
    assert {str(label.get_text()) for label in axes.get_xticklabels()} >= {"7"}


def test_of_a_repeated_step_the_last_value_counts() -> None:
    points = [(1, 5.0), (2, 4.0), (3, 9.0), (2, 3.0), (3, 2.0)]  # resumed at step 1
    (axes,) = training_curves_figure({"train/loss": points}, "run").axes
    (line,) = axes.lines
    assert np.asarray(line.get_xydata()).tolist() == [[1, 5], [2, 3], [3, 2]]


def test_names_are_no_mathematics_and_are_drawn_in_every_script(tmp_path: Path) -> None:
    series = {"train/$x$": [(1, 1.0)], "群/$\\frac{$": [(1, 1.0), (2, 3.0)]}
    figure = training_curves_figure(series, "年 $_$")
    assert list(panels(figure)) == ["$x$", "群 by part"]
    assert legend(panels(figure)["群 by part"]) == ["$\\frac{$ 3"]
    FigureCanvasAgg(figure).draw()  # as mathematics, drawing raises


def test_files_are_written_and_bounded(tmp_path: Path) -> None:
    series = {f"group{number}/value": [(1, 1.0), (2, 2.0)] for number in range(100)}
    png, svg = save_training_curves(series, tmp_path, "many")
    assert (png.name, svg.name) == ("training-curves.png", "training-curves.svg")
    height, width, _ = imread(png).shape
    assert max(height, width) < 3000
    assert "group0/value" in svg.read_text(encoding="utf-8")
    figure = training_curves_figure(series, "many")
    assert len(figure.axes) == 15
    assert figure.get_supxlabel() == "85 more groups of series are not shown"


def test_a_line_of_very_many_points_does_not_swell_the_svg(tmp_path: Path) -> None:
    long = [(step, float(abs(NOISE[step % 1000]))) for step in range(30_000)]
    (path,) = save_training_curves({"train/gradient_norm": long}, tmp_path, "long", ["svg"])
    assert path.stat().st_size < 1_500_000
