"""The oracle: with equal weights our encoder-decoder gives the outputs and gradients of torch.nn.Transformer."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stepwise_core.components.attention import MultiHeadAttention
from stepwise_core.components.masks import AttentionMask
from stepwise_core.config import ModelConfig
from stepwise_core.models import Transformer, build_model

D_MODEL, N_HEADS, D_FF, N_LAYERS, V = 16, 4, 24, 2, 13
LENGTHS = torch.tensor([7, 4, 1])
EXACT = {"rtol": 1e-10, "atol": 1e-10}


def our_model(norm_position: str, **options: Any) -> Transformer:
    torch.manual_seed(0)
    values = {"d_model": D_MODEL, "n_heads": N_HEADS, "d_ff": D_FF, "n_layers": N_LAYERS, "max_length": 32}
    options = {"norm_position": norm_position, "dropout": 0.0, **options}
    config = ModelConfig.model_validate({**values, **options})
    model = build_model(config, V, V)
    for parameter in model.parameters():  # norms and biases too must differ from their starting values
        nn.init.normal_(parameter, std=0.4)
    return model.double()


def torch_model(norm_position: str, activation: str = "relu") -> nn.Transformer:
    """The paper's post-norm model has no norm after its stacks; torch adds one unless it is told not to."""
    options: dict[str, Any] = {"dropout": 0.0, "activation": activation, "batch_first": True}
    options["norm_first"] = norm_position == "pre"

    def final_norm() -> nn.Module | None:
        return nn.LayerNorm(D_MODEL) if norm_position == "pre" else None

    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(D_MODEL, N_HEADS, D_FF, **options),
        N_LAYERS,
        norm=final_norm(),
        enable_nested_tensor=False,
    )
    decoder = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(D_MODEL, N_HEADS, D_FF, **options), N_LAYERS, norm=final_norm()
    )
    model = nn.Transformer(D_MODEL, N_HEADS, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)
    return model.double()


def pairs(ours: Transformer, theirs: nn.Transformer) -> list[tuple[list[Tensor], Tensor]]:
    """Which of our parameters, one below the other, are which of torch's."""
    found: list[tuple[list[Tensor], Tensor]] = []

    def same(one: nn.Module, other: Any) -> None:
        found.extend(([parameter], other.get_parameter(name)) for name, parameter in one.named_parameters())

    def attention(one: MultiHeadAttention, other: Any) -> None:
        projections = (one.query_projection, one.key_projection, one.value_projection)
        found.append(([p.weight for p in projections], other.in_proj_weight))
        found.append(([p.bias for p in projections], other.in_proj_bias))
        same(one.output_projection, other.out_proj)

    for stack, their_stack in ((ours.encoder, theirs.encoder), (ours.decoder, theirs.decoder)):
        for layer, other in zip(stack.layers, their_stack.layers, strict=True):
            residuals = [layer.self_attention_residual]
            attention(layer.self_attention, other.self_attn)
            if stack is ours.decoder:
                attention(layer.cross_attention, other.multihead_attn)
                residuals.append(layer.cross_attention_residual)
            same(layer.feed_forward.inner_projection, other.linear1)
            same(layer.feed_forward.output_projection, other.linear2)
            for number, residual in enumerate([*residuals, layer.feed_forward_residual], start=1):
                same(residual.norm, getattr(other, f"norm{number}"))
        if their_stack.norm is not None:
            same(stack.norm, their_stack.norm)
    return found


def torch_logits(theirs: nn.Transformer, ours: Transformer, source: Tensor, target: Tensor) -> Tensor:
    """Torch's stacks between our embedding and output matrices, the paper's section 3.4 written out."""

    def embed(ids: Tensor, side: Any) -> Tensor:
        vectors = F.embedding(ids, side.tokens.weight) * math.sqrt(D_MODEL)
        return vectors + side.positions.table[: ids.shape[1]]

    padding = torch.arange(source.shape[1]) >= LENGTHS[:, None]  # True = ignore, the opposite of ours
    hidden = theirs(
        embed(source, ours.source_embedding),
        embed(target, ours.target_embedding),
        tgt_mask=torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1),
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
    )
    logits: Tensor = hidden @ ours.output_projection.weight.T
    return logits


@pytest.mark.parametrize("attention", ["fast", "reference"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("tie_weights", ["none", "all"])
@pytest.mark.parametrize("norm_position", ["post", "pre"])
def test_outputs_and_gradients_are_those_of_torch(
    norm_position: str, tie_weights: str, activation: str, attention: str
) -> None:
    ours = our_model(norm_position, tie_weights=tie_weights, activation=activation, attention=attention)
    theirs = torch_model(norm_position, activation)
    same = pairs(ours, theirs)
    assert sum(their.numel() for _, their in same) == sum(p.numel() for p in theirs.parameters())
    with torch.no_grad():
        for our, their in same:
            their.copy_(torch.cat(our))
    source, target = torch.randint(4, V, (3, 7)), torch.randint(4, V, (3, 5))
    wanted = torch.randint(4, V, (3, 5))

    mine = ours(source, target, AttentionMask.from_lengths(LENGTHS, 7))
    torchs = torch_logits(theirs, ours, source, target)
    torch.testing.assert_close(mine, torchs, **EXACT)

    shared = [ours.source_embedding.tokens.weight, ours.target_embedding.tokens.weight]
    inputs = [parameter for our, _ in same for parameter in our]
    loss = F.cross_entropy(mine.flatten(0, 1), wanted.flatten())
    gradients = torch.autograd.grad(loss, [*shared, *inputs])
    loss = F.cross_entropy(torchs.flatten(0, 1), wanted.flatten())
    expected = torch.autograd.grad(loss, [*shared, *(their for _, their in same)])

    torch.testing.assert_close(gradients[:2], expected[:2], **EXACT)
    by_parameter = dict(zip(map(id, inputs), gradients[2:], strict=True))
    for (our, _), gradient in zip(same, expected[2:], strict=True):
        torch.testing.assert_close(torch.cat([by_parameter[id(p)] for p in our]), gradient, **EXACT)
