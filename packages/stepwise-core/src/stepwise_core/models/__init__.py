"""Models made of the components: today the encoder-decoder."""

from stepwise_core.config import ModelConfig
from stepwise_core.models.transformer import Transformer, count_parameters


def build_model(config: ModelConfig, source_vocab_size: int, target_vocab_size: int) -> Transformer:
    """Build the model a configuration describes; its weights come from torch's global random generator."""
    return Transformer(config, source_vocab_size, target_vocab_size)


__all__ = ["Transformer", "build_model", "count_parameters"]
