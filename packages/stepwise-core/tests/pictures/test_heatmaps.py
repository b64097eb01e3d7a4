"""Heatmaps: the weights that are drawn, the labels beside them, and the size of the picture."""

import io
import math
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.typing import NDArray

from stepwise_core.errors import RunError, StepwiseError
from stepwise_core.pictures.heatmaps import (
    CAPTION,
    AttentionMaps,
    attention_entropy,
    attention_figure,
    save_attention,
)

SOURCE = [*"2045年5月23日", "tháng", "μαΐου", "января", "년", "</s>"]


def random_weights(*shape: int) -> NDArray[np.float64]:
    scores = np.exp(np.random.default_rng(0).normal(size=shape) * 2)
    weights: NDArray[np.float64] = scores / scores.sum(-1, keepdims=True)
    return weights


def maps_in(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images]


def pixels(figure: Figure) -> NDArray[np.uint8]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def colour_of(image: NDArray[np.uint8], axes: Axes, row: float, column: float) -> list[int]:
    """The colour in the middle of a cell, as a person sees it."""
    x, y = axes.transData.transform((column, row))
    colour: list[int] = image[image.shape[0] - 1 - int(y), int(x)].tolist()
    return colour


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def test_dark_cells_are_where_the_weights_are() -> None:
    weights = np.eye(4)[None, None] * 0.9 + 0.025  # rows sum to 1
    figure = attention_figure(weights, "abcd", "wxyz", title="eye")
    image, (axes,) = pixels(figure), maps_in(figure)
    for row in range(4):
        for column in range(4):
            brightness = sum(colour_of(image, axes, row, column)) / 3
            assert (brightness < 60) == (row == column), (row, column)


def test_masked_cells_are_grey_and_small_weights_are_not() -> None:
    weights = np.array([[[[1.0, 0.0], [0.999, 0.001]]]])
    figure = attention_figure(weights, "ab", "ab", title="causal")
    image, (axes,) = pixels(figure), maps_in(figure)
    assert colour_of(image, axes, 0, 1) == [0xE6, 0xE8, 0xEC]
    assert min(colour_of(image, axes, 1, 1)) > 0xE6


def test_one_scale_for_all_layers_and_heads() -> None:
    figure = attention_figure(random_weights(2, 3, 4, 5), "abcd", "vwxyz", title="grid")
    scales = {(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes in maps_in(figure)}
    assert len(maps_in(figure)) == 6
    assert scales == {(0, 1)}


def test_panels_hold_the_weights_of_their_layer_and_head_unchanged() -> None:
    weights = random_weights(3, 4, 5, 6)
    figure = attention_figure(weights, "abcde", "uvwxyz", title="some", layers=[2, 0], heads=[3, 1])
    drawn = [np.asarray(axes.images[0].get_array()) for axes in maps_in(figure)]
    expected = [weights[layer, head] for layer in (2, 0) for head in (3, 1)]
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_allclose(np.sum(drawn, axis=-1), 1)
    assert [text for text in texts(figure) if text.startswith("layer")] == ["layer 2", "layer 0"]
    assert [axes.get_title().split(" · ")[0] for axes in maps_in(figure)] == ["head 3", "head 1"] * 2


def test_titles_say_the_entropy() -> None:
    weights = np.stack([np.full((4, 4), 0.25), np.eye(4)])[None]  # one head everywhere, one head at one place
    figure = attention_figure(weights, "abcd", "abcd", title="entropy")
    assert [axes.get_title() for axes in maps_in(figure)] == ["head 0 · 2.00 bits", "head 1 · 0.00 bits"]


def test_entropy_leaves_out_rows_that_attend_to_nothing() -> None:
    weights = np.array([[[[0.5, 0.5], [0.0, 0.0]]]])
    assert attention_entropy(weights).tolist() == [[1.0]]


def test_tokens_label_rows_and_columns_and_are_no_mathematics() -> None:
    tokens = ["年", "$a$", r"$\frac{$", "\u202ex", "a\nb", " "]
    figure = attention_figure(random_weights(1, 1, 6, 6), tokens, tokens, title="$hostile$")
    (axes,) = maps_in(figure)
    shown = ["年", "$a$", r"$\frac{$", "U+202Ex", "a↵b", "␣"]
    assert [text.get_text() for text in axes.get_yticklabels()] == shown
    assert [text.get_text() for text in axes.get_xticklabels()] == shown
    pixels(figure)  # as mathematics, drawing raises
    assert not any(text.get_parse_math() for text in [*axes.get_xticklabels(), *axes.get_yticklabels()])


@pytest.mark.parametrize("length", [1, 3, 30, 64, 65, 200, 500])
@pytest.mark.parametrize(("layers", "heads"), [(1, 1), (1, 8), (2, 4)])
def test_labels_never_overlap_and_pictures_stay_small(length: int, layers: int, heads: int) -> None:
    tokens = [f"token{number}" for number in range(length)]
    figure = attention_figure(random_weights(layers, heads, length, length), tokens, tokens, title="long")
    size = figure.get_size_inches() * figure.dpi
    assert max(size) <= 3600
    renderer = FigureCanvasAgg(figure).get_renderer()
    lowest = maps_in(figure)[-1]
    columns = [text.get_window_extent(renderer) for text in lowest.get_xticklabels()]
    rows = [text.get_window_extent(renderer) for text in maps_in(figure)[0].get_yticklabels()]
    assert all(one.x1 <= other.x0 + 1 for one, other in pairwise(columns))
    assert all(one.y0 >= other.y1 - 1 for one, other in pairwise(rows))
    assert min(box.x0 for box in rows) > 0
    assert min(box.y0 for box in columns) > 0
    if length <= 30:
        assert len(columns) == len(rows) == length


def test_a_very_long_input_is_drawn_whole(tmp_path: Path) -> None:
    tokens = [f"{number}" for number in range(500)]
    maps = AttentionMaps("encoder", random_weights(1, 1, 500, 500), tokens, tokens)
    (path,) = save_attention(maps, tmp_path, ["png"])
    height, width, _ = imread(path).shape
    assert 500 < max(height, width) <= 3600
    figure = attention_figure(maps.weights, tokens, tokens, title="long")
    assert any("Only one token in" in text for text in texts(figure))


def test_more_panels_than_a_page_holds_only_lower_the_resolution() -> None:
    figure = attention_figure(random_weights(60, 2, 3, 3), "abc", "abc", title="deep")
    assert max(figure.get_size_inches() * figure.dpi) <= 3601


def test_the_caption_warns() -> None:
    assert any(
        CAPTION in text
        for text in texts(attention_figure(random_weights(1, 1, 2, 2), "ab", "ab", title="caption"))
    )


def test_files_of_one_kind(tmp_path: Path) -> None:
    maps = AttentionMaps("cross", random_weights(2, 2, 3, len(SOURCE)), ["<s>", "2", "0"], SOURCE)
    paths = save_attention(maps, tmp_path / "new")
    names = [
        "cross.png",
        "cross.svg",
        "cross-layer-0.png",
        "cross-layer-0.svg",
        "cross-layer-1.png",
        "cross-layer-1.svg",
    ]
    assert [path.name for path in paths] == names
    for path in paths[::2]:
        image = imread(path)[..., :3]
        assert image.std() > 0.05, "blank"
        assert not np.isnan(image).any()


def test_svg_needs_no_fonts_and_keeps_the_tokens_as_words(tmp_path: Path) -> None:
    maps = AttentionMaps("cross", random_weights(1, 1, 3, len(SOURCE)), ["<s>", "2", "$x$"], SOURCE)
    (path,) = save_attention(maps, tmp_path, ["svg"])
    content = path.read_text(encoding="utf-8")
    tree = ET.fromstring(content)
    svg, dublin = "{http://www.w3.org/2000/svg}", "{http://purl.org/dc/elements/1.1/}"
    assert tree.findall(f".//{svg}text") == [], "text that needs a font"
    assert len(tree.findall(f".//{svg}defs//{svg}path")) > 40, "one outline per glyph"
    description = tree.find(f".//{dublin}description")
    assert description is not None
    assert all(token in str(description.text) for token in SOURCE)
    assert "<!-- 年 -->" in content  # each outlined word is named


def test_threads_draw_what_one_thread_draws() -> None:
    def draw(_: int) -> bytes:
        file = io.BytesIO()
        attention_figure(random_weights(2, 2, 5, len(SOURCE)), "abcde", SOURCE, title="年").savefig(file)
        return file.getvalue()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(draw, range(8))) == {draw(0)}


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1, 2, 3), "2 x 3"),
        ((1, 2, 2), "expected \\(layers, heads, queries, keys\\)"),
        ((1, 0, 2, 2), "expected \\(layers, heads, queries, keys\\)"),
    ],
)
def test_shapes_that_do_not_fit(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attention_figure(np.full(shape, 0.5), "ab", "ab", title="wrong")


@pytest.mark.parametrize("row", [[0.5, 0.6], [1.5, -0.5], [math.nan, 1.0]])
def test_rows_that_are_no_distribution(row: list[float]) -> None:
    with pytest.raises(ValueError, match="distributions"):
        attention_figure(np.array([[[row]]]), "a", "ab", title="wrong")


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    maps = AttentionMaps("cross", random_weights(1, 1, 2, 2), "ab", "ab")
    with pytest.raises(RunError, match=r"cannot write the picture .*file"):
        save_attention(maps, tmp_path / "file" / "pictures")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    maps = AttentionMaps("cross", random_weights(1, 1, 2, 2), "ab", "ab")
    with pytest.raises(StepwiseError, match="'gif'"):
        save_attention(maps, tmp_path, ["gif"])  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []
