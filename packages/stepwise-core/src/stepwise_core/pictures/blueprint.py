"""The parts of an architecture diagram, read off a model: which boxes, in which order, with which figures."""

from dataclasses import dataclass
from typing import Literal, cast

from torch import nn

from stepwise_core.components.attention import MultiHeadAttention
from stepwise_core.components.embedding import Embedding
from stepwise_core.components.feed_forward import FeedForward
from stepwise_core.components.positional_encoding import LearnedEncoding, NoEncoding
from stepwise_core.models.transformer import Transformer
from stepwise_core.pictures.structure import Parameters, Trace, trace_shapes

BoxKind = Literal["embedding", "attention", "feed_forward", "norm", "output"]


@dataclass(frozen=True)
class Box:
    """One coloured box: what it is, how large, how many parameters (in words)."""

    kind: BoxKind
    label: str
    detail: str
    parameters: str


@dataclass(frozen=True)
class Sublayer:
    """Attention or feed-forward with the residual connection around it.

    Attributes:
        box: the sublayer itself.
        norm: its normalisation.
        norm_first: whether the norm runs before the sublayer (pre-norm) or on the sum behind it (post-norm).
        reads_memory: whether it looks at the encoder's output.
        shape: what flows out of it.
    """

    box: Box
    norm: Box
    norm_first: bool
    reads_memory: bool
    shape: str


@dataclass(frozen=True)
class Column:
    """Encoder or decoder, from the token ids at the bottom to the vectors at the top.

    Attributes:
        inputs: what goes in, with its shape.
        embedding: turns ids into vectors.
        positions: how positions enter by addition; empty if they do not.
        embedded_shape: what flows out of the embedding.
        sublayers: of one layer.
        n_layers: how often the layer is repeated, each time with weights of its own.
        layer_parameters: of one layer.
        final_norm: behind the last layer, if there is one.
        shape: what flows out of the stack.
    """

    inputs: str
    embedding: Box
    positions: str
    embedded_shape: str
    sublayers: tuple[Sublayer, ...]
    n_layers: int
    layer_parameters: int
    final_norm: Box | None
    shape: str


@dataclass(frozen=True)
class Blueprint:
    """All that the diagram of an encoder-decoder shows."""

    encoder: Column
    decoder: Column
    output: Box
    logits_shape: str
    parameters: int


def read_blueprint(model: Transformer) -> Blueprint:
    """Run a tiny example through the model and reads its diagram off what happened."""
    reader = _Reader(model)
    projection = model.output_projection
    return Blueprint(
        encoder=reader.column("Source tokens: B × S", "encoder", "source"),
        decoder=reader.column("Target tokens so far: B × T", "decoder", "target"),
        output=reader.box(
            "output", "Linear", f"{projection.in_features} → {projection.out_features}", "output_projection"
        ),
        logits_shape=reader.trace.shape("output_projection"),
        parameters=reader.parameters.total,
    )


class _Reader:
    def __init__(self, model: Transformer) -> None:
        self.model = model
        self.trace: Trace = trace_shapes(model)
        self.parameters = Parameters(model)

    def box(self, kind: BoxKind, label: str, detail: str, name: str) -> Box:
        """A box with the parameters of the module of that name."""
        owned, tied = self.parameters.owned(name), self.parameters.tied_to(name)
        counts = [f"{owned:,} parameters"] if owned or not tied else []
        if tied:
            counts.append(f"weights tied to {tied.replace('_', ' ')}")
        return Box(kind, label, detail, ", ".join(counts))

    def column(self, inputs: str, stack: str, language: str) -> Column:
        """The column of a stack ("encoder" or "decoder") with the embedding of its language."""
        embedding = f"{language}_embedding"
        embedder = cast(Embedding, self.model.get_submodule(embedding))
        layers = cast(nn.ModuleList, self.model.get_submodule(f"{stack}.layers"))
        parts = [name for name, _ in layers[0].named_children() if not name.endswith("_residual")]
        n_tokens, d_model = embedder.tokens.weight.shape
        size = f"{n_tokens} tokens → {d_model}" + f", scaled by √{d_model}" * (embedder.scale != 1)
        has_norm = any(True for _ in self.model.get_submodule(f"{stack}.norm").parameters())
        return Column(
            inputs=inputs,
            embedding=self.box("embedding", f"{language.capitalize()} embedding", size, embedding),
            positions=_positions(embedder),
            embedded_shape=self.trace.shape(embedding),
            sublayers=tuple(self._sublayer(f"{stack}.layers.0", part) for part in parts),
            n_layers=len(layers),
            layer_parameters=self.parameters.owned(f"{stack}.layers.0"),
            final_norm=self._norm(f"{stack}.norm") if has_norm else None,
            shape=self.trace.shape(stack),
        )

    def _sublayer(self, layer: str, part: str) -> Sublayer:
        name, norm = f"{layer}.{part}", f"{layer}.{part}_residual.norm"
        module = self.model.get_submodule(name)
        if isinstance(module, MultiHeadAttention):
            masked = "Masked m" if layer.startswith("decoder") and part == "self_attention" else "M"
            box = self.box("attention", f"{masked}ulti-head attention", _attention_detail(module), name)
        else:
            box = self.box(
                "feed_forward", "Feed-forward", _feed_forward_detail(cast(FeedForward, module)), name
            )
        return Sublayer(
            box=box,
            norm=self._norm(norm),
            norm_first=self.trace.runs_before(norm, name),
            reads_memory=part == "cross_attention",
            shape=self.trace.shape(f"{layer}.{part}_residual"),
        )

    def _norm(self, name: str) -> Box:
        return self.box("norm", type(self.model.get_submodule(name)).__name__, "", name)


def _positions(embedding: Embedding) -> str:
    positions = embedding.positions
    if isinstance(positions, NoEncoding):
        return ""
    if isinstance(positions, LearnedEncoding):
        return "learned positions"
    return "sinusoidal positions"


def _attention_detail(attention: MultiHeadAttention) -> str:
    heads = f"{attention.n_heads} heads × {attention.d_head}"
    if attention.n_kv_heads != attention.n_heads:
        heads += f", {attention.n_kv_heads} for keys and values"
    return heads + ", rotary positions" * (attention.rotary is not None)


def _feed_forward_detail(layer: FeedForward) -> str:
    inner = layer.inner_projection
    return f"{inner.in_features} → {inner.out_features} → {inner.in_features}, {layer.activation}"
