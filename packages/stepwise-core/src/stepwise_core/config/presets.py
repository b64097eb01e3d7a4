"""The two presets and the one table they come from: where `modern` deviates from the paper.

Each row names the key, the value of "Attention Is All You Need" (Vaswani et al., 2017), today's usual value,
the reason, and the test that covers the difference. `stepwise config presets` prints it.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Deviation:
    """One setting in which the presets differ.

    Attributes:
        key: dotted configuration key.
        paper: value of the `paper` preset.
        modern: value of the `modern` preset.
        section: where the paper states its value.
        why: what the modern value is for.
        test: the test that covers both values.
    """

    key: str
    paper: Any
    modern: Any
    section: str
    why: str
    test: str


DEVIATIONS: tuple[Deviation, ...] = (
    Deviation("model.norm_position", "post", "pre", "3.1",
              "trains without warm-up tricks at any depth (Xiong et al., 2020)",
              "test_layers.py::test_norm_position_matches_its_equation"),
    Deviation("model.norm", "layernorm", "rmsnorm", "3.1",
              "one statistic less, same quality (Zhang and Sennrich, 2019)",
              "test_normalization.py::test_rmsnorm_matches_its_equation"),
    Deviation("model.activation", "relu", "swiglu", "3.3", "better loss at equal parameters (Shazeer, 2020)",
              "test_feed_forward.py::test_each_activation_matches_its_equation"),
    Deviation("model.positions", "sinusoidal", "rotary", "3.5",
              "attention sees relative distance (Su et al., 2021)",
              "test_positional_encoding.py::test_rotary_scores_depend_on_distance_only"),
    Deviation("model.bias", True, False, "3.3", "biases add parameters and no quality (Chowdhery et al., 2022)",
              "test_transformer.py::test_bias_false_leaves_no_bias"),
    Deviation("model.initialization", "xavier_uniform", "scaled_normal", "not stated",
              "residual stream keeps its variance with depth (Radford et al., 2019)",
              "test_initialization.py::test_scaled_normal_shrinks_with_depth"),
    Deviation("model.scale_embeddings", True, False, "3.4", "not needed without added positions",
              "test_transformer.py::test_scale_embeddings"),
    Deviation("model.tie_weights", "all", "decoder", "3.4", "source and target need not share a vocabulary",
              "test_transformer.py::test_tied_weights_are_one_parameter"),
    Deviation("tokenizer.shared", True, False, "5.1", "each language gets a vocabulary of its own",
              "test_tokenizers.py::test_shared_and_separate_vocabularies"),
    Deviation("training.schedule", "noam", "cosine", "5.3",
              "ends at zero when the budget ends (Loshchilov and Hutter, 2017)",
              "test_schedules.py::test_cosine_shape"),
    Deviation("training.learning_rate", 1.0, 1e-3, "5.3", "peak value; noam's is a factor",
              "test_schedules.py::test_noam_is_the_papers_equation"),
    Deviation("training.warmup_steps", 4_000, 400, "5.3", "pre-norm needs less",
              "test_schedules.py::test_warmup_is_linear"),
    Deviation("training.betas", (0.9, 0.98), (0.9, 0.95), "5.3",
              "forgets old gradients sooner (Brown et al., 2020)",
              "test_optimizer.py::test_presets_configure_adamw"),
    Deviation("training.eps", 1e-9, 1e-8, "5.3", "torch's default",
              "test_optimizer.py::test_presets_configure_adamw"),
    Deviation("training.weight_decay", 0.0, 0.01, "none", "decoupled decay (Loshchilov and Hutter, 2019)",
              "test_optimizer.py::test_presets_configure_adamw"),
    Deviation("training.gradient_clipping", None, 1.0, "none",
              "one bad batch cannot wreck the run (Pascanu et al., 2013)",
              "test_training_step.py::test_gradient_clipping_bounds_the_norm"),
)  # fmt: skip


def preset_values(name: str) -> dict[str, Any]:
    """Return the values of a preset as {dotted key: value}.

    Args:
        name: `paper` or `modern`.

    Raises:
        KeyError: if there is no preset of that name.
    """
    if name not in ("paper", "modern"):
        raise KeyError(name)
    return {row.key: getattr(row, name) for row in DEVIATIONS}
