"""The encoder-decoder of "Attention Is All You Need" (Vaswani et al., 2017), section 3."""

from torch import Tensor, nn

from stepwise_core.components.embedding import Embedding
from stepwise_core.components.initialization import initialize
from stepwise_core.components.masks import EVERYTHING, AttentionMask
from stepwise_core.components.positional_encoding import RotaryEncoding
from stepwise_core.config import ModelConfig
from stepwise_core.models.transformer_layers import Decoder, Encoder, LayerCache


class Transformer(nn.Module):
    """Encoder-decoder transformer.

    Args:
        config: the architecture.
        source_vocab_size: tokens of the source language.
        target_vocab_size: V, tokens of the target language.

    Raises:
        ValueError: if all weights are to be tied and the vocabularies differ in size.
    """

    def __init__(self, config: ModelConfig, source_vocab_size: int, target_vocab_size: int) -> None:
        super().__init__()
        self.config = config
        rotary = None
        if config.positions == "rotary":
            rotary = RotaryEncoding(config.d_model // config.n_heads, config.max_length)
        self.source_embedding = _embedding(config, source_vocab_size)
        self.target_embedding = _embedding(config, target_vocab_size)
        self.encoder = Encoder(config, rotary)
        self.decoder = Decoder(config, rotary)
        self.output_projection = nn.Linear(config.d_model, target_vocab_size, bias=False)
        n_sublayers = max(2 * config.encoder_layers, 3 * config.decoder_layers)
        initialize(self, config.initialization, d_model=config.d_model, n_sublayers=n_sublayers)
        self._tie_weights()

    def forward(
        self, source: Tensor, target_input: Tensor, source_mask: AttentionMask = EVERYTHING
    ) -> Tensor:
        """Score every next target token, given the true tokens before it ("teacher forcing").

        Args:
            source: (B, S) int64 token ids, right-padded.
            target_input: (B, T) int64 token ids that start with <bos>, right-padded.
            source_mask: which source tokens are real.

        Returns:
            (B, T, V) logits.
        """
        memory = self.encode(source, source_mask)
        return self.decode(target_input, memory, source_mask)

    def encode(self, source: Tensor, source_mask: AttentionMask = EVERYTHING) -> Tensor:
        """Read sources (B, S) into memory (B, S, D)."""
        memory: Tensor = self.encoder(self.source_embedding(source), source_mask)
        return memory

    def decode(
        self,
        target_input: Tensor,
        memory: Tensor,
        source_mask: AttentionMask = EVERYTHING,
        cache: list[LayerCache] | None = None,
    ) -> Tensor:
        """Score next tokens after target_input (B, T) as (B, T, V) logits.

        With a cache, target_input holds only the tokens that are new since the last call.
        """
        start = cache[0].self_attention.length if cache else 0
        hidden = self.decoder(
            self.target_embedding(target_input, start), memory, source_mask, cache
        )  # (B, T, D)
        logits: Tensor = self.output_projection(hidden)
        return logits

    def new_cache(self, capacity: int = 32) -> list[LayerCache]:
        """Return an empty cache for step-by-step decoding, one entry per decoder layer."""
        return [LayerCache(capacity) for _ in self.decoder.layers]

    def _tie_weights(self) -> None:
        """Make embeddings and output projection one matrix, as the configuration says (paper, section 3.4)."""
        tying = self.config.tie_weights
        if tying == "none":
            return
        self.output_projection.weight = self.target_embedding.tokens.weight
        if tying == "all":
            sizes = self.source_embedding.tokens.num_embeddings, self.target_embedding.tokens.num_embeddings
            if sizes[0] != sizes[1]:
                raise ValueError(
                    f"tie_weights all needs equal vocabularies; source has {sizes[0]}, target {sizes[1]}"
                )
            self.source_embedding.tokens.weight = self.target_embedding.tokens.weight


def _embedding(config: ModelConfig, vocab_size: int) -> Embedding:
    return Embedding(
        vocab_size,
        config.d_model,
        positions=config.positions,
        max_length=config.max_length,
        scale=config.scale_embeddings,
        dropout=config.dropout,
    )


def count_parameters(model: nn.Module) -> int:
    """Count trainable numbers; tied weights count once."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
