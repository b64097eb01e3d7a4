"""Configuration: one typed tree (`schema`), its presets, and how it is resolved from files and flags."""

from stepwise_core.config.presets import DEVIATIONS, Deviation
from stepwise_core.config.reading import find_config, shipped_configs
from stepwise_core.config.resolve import ResolvedConfig, all_keys, config_from_dict, load_config
from stepwise_core.config.schema import (
    Config,
    DataConfig,
    EvaluationConfig,
    LoggingConfig,
    ModelConfig,
    TokenizerConfig,
    TrainingConfig,
)

__all__ = [
    "DEVIATIONS",
    "Config",
    "DataConfig",
    "Deviation",
    "EvaluationConfig",
    "LoggingConfig",
    "ModelConfig",
    "ResolvedConfig",
    "TokenizerConfig",
    "TrainingConfig",
    "all_keys",
    "config_from_dict",
    "find_config",
    "load_config",
    "shipped_configs",
]
