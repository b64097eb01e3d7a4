"""The structure of a model and its diagram: real shapes, real order, each parameter once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from stepwise_core.config import ModelConfig
from stepwise_core.models import build_model
from stepwise_core.models.transformer import Transformer
from stepwise_core.pictures.architecture import architecture_figure, save_architecture
from stepwise_core.pictures.structure import describe_model, trace_shapes

SMALL: dict[str, Any] = {"d_model": 16, "n_heads": 4, "n_layers": 2, "d_ff": 48, "max_length": 20}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"tie_weights": "none"},
    {"tie_weights": "decoder", "norm_position": "pre", "norm": "rmsnorm"},
    {"positions": "learned", "n_encoder_layers": 3, "n_decoder_layers": 1},
    {"positions": "rotary", "n_kv_heads": 2, "activation": "swiglu", "bias": False},
    {"max_length": 1},
]


def small_model(**changes: Any) -> Transformer:
    return build_model(ModelConfig(**{**SMALL, **changes}), 11, 11)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def heights(figure: Figure, label: str) -> list[float]:
    """Where a label stands, from the bottom up, in the encoder's column."""
    found = [text for text in figure.findobj(Text) if text.get_text() == label]
    return sorted(text.get_position()[1] for text in found if text.get_position()[0] < 5)


@pytest.mark.parametrize("changes", VARIANTS)
def test_blocks_sum_to_the_parameters_of_the_model_each_once(changes: dict[str, Any]) -> None:
    model = small_model(**changes)
    unique = sum(parameter.numel() for parameter in set(model.parameters()))
    rows = describe_model(model)
    assert sum(row.parameters for row in rows if row.depth == 0) == unique
    assert sum(row.share for row in rows if row.depth == 0) == pytest.approx(1)
    for stack in ("encoder", "decoder"):
        (whole,) = [row for row in rows if row.name == stack]
        inside = [row for row in rows if row.name.startswith(f"{stack}.")]
        assert sum(row.parameters for row in inside if row.depth == 1) == whole.parameters
        layers = [row.parameters for row in inside if row.depth == 1 and "layers" in row.name]
        assert sum(row.parameters for row in inside if row.depth == 2) == sum(layers)


def test_tied_weights_count_where_they_first_occur() -> None:
    rows = {row.name: row for row in describe_model(small_model(tie_weights="all"))}
    assert (rows["source_embedding"].parameters, rows["source_embedding"].tied_to) == (11 * 16, "")
    for name in ("target_embedding", "output_projection"):
        assert (rows[name].parameters, rows[name].tied_to) == (0, "source_embedding")
    rows = {row.name: row for row in describe_model(small_model(tie_weights="decoder"))}
    assert rows["target_embedding"].parameters == 11 * 16
    assert rows["output_projection"].tied_to == "target_embedding"
    assert not any(row.tied_to for row in describe_model(small_model(tie_weights="none")))


def test_shapes_are_those_of_a_real_pass() -> None:
    rows = {row.name: row.output_shape for row in describe_model(small_model())}
    assert rows["source_embedding"] == rows["encoder"] == "B × S × 16"
    assert rows["decoder.layers.0-1.cross_attention"] == "B × T × 16"
    assert rows["output_projection"] == "B × T × 11"


def test_alike_layers_share_rows() -> None:
    rows = describe_model(small_model(n_encoder_layers=3, n_decoder_layers=1))
    assert [(row.name, row.repeats) for row in rows if row.depth == 1] == [
        ("encoder.layers.0-2", 3),
        ("decoder.layers.0", 1),
    ]


def test_looking_changes_nothing() -> None:
    model = small_model(dropout=0.5).train()
    model.encoder.eval()
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    trace_shapes(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_post_norm_is_drawn_after_the_sum() -> None:
    figure = architecture_figure(small_model(norm_position="post"), "post")
    (attention,), norms = heights(figure, "Multi-head attention"), heights(figure, "Add & LayerNorm")
    (feed_forward,) = heights(figure, "Feed-forward")
    assert attention < norms[0] < feed_forward < norms[1]
    assert heights(figure, "Final LayerNorm") == []


def test_pre_norm_is_drawn_before_the_sublayer_and_once_at_the_end() -> None:
    figure = architecture_figure(small_model(norm_position="pre", norm="rmsnorm"), "pre")
    (attention,), norms = heights(figure, "Multi-head attention"), heights(figure, "RMSNorm")
    (feed_forward,), (final,) = heights(figure, "Feed-forward"), heights(figure, "Final RMSNorm")
    assert norms[0] < attention < norms[1] < feed_forward < final
    assert heights(figure, "Add & RMSNorm") == []


def test_the_order_is_seen_in_the_pass_and_not_read_from_the_configuration() -> None:
    model = small_model(norm_position="post")
    for module in model.modules():
        if hasattr(module, "position"):
            module.position = "pre"
    assert "Add & LayerNorm" not in texts(architecture_figure(model, "rewired"))


def test_figures_of_the_model_are_in_the_diagram() -> None:
    model = small_model(n_encoder_layers=3, n_decoder_layers=1, tie_weights="all", positions="learned")
    shown = texts(architecture_figure(model, "$figures$"))
    assert {"3 ×", "1 ×", "4 heads × 4", "16 → 48 → 16, relu", "learned positions", "$figures$"} <= set(shown)
    assert "11 tokens → 16, scaled by √16" in shown
    assert "weights tied to source embedding" in shown
    assert shown.count("B × T × 11") == 1
    layer = sum(parameter.numel() for parameter in model.encoder.layers[0].parameters())
    total = sum(parameter.numel() for parameter in model.parameters())
    assert {f"one layer: {layer:,} parameters", f"{total:,} parameters"} <= set(shown)


def test_rotary_positions_and_grouped_heads_are_named_where_they_act() -> None:
    shown = texts(architecture_figure(small_model(positions="rotary", n_kv_heads=2), "rotary"))
    assert shown.count("4 heads × 4, 2 for keys and values, rotary positions") == 2  # both self-attentions
    assert shown.count("4 heads × 4, 2 for keys and values") == 1  # cross-attention
    assert "sinusoidal positions" not in shown


@pytest.mark.parametrize("changes", VARIANTS)
def test_the_picture_is_whole(changes: dict[str, Any], tmp_path: Path) -> None:
    png, svg = save_architecture(small_model(**changes), tmp_path, "模型 $x$")
    image = imread(png)[..., :3]
    assert max(image.shape) < 3000
    inked = np.argwhere(image.min(-1) < 0.6)
    assert len(inked) > 5000
    margins = [*inked.min(0), *(np.array(image.shape[:2]) - inked.max(0))]
    assert min(margins) > 10, "something is cut off"
    assert "模型" in svg.read_text(encoding="utf-8")
