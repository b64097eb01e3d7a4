"""AdamW, and which weights decay."""

import torch
from torch import nn

from stepwise_core.config import TrainingConfig


def build_optimizer(model: nn.Module, config: TrainingConfig, device: torch.device) -> torch.optim.AdamW:
    """Build AdamW (Loshchilov and Hutter, 2019); with weight_decay 0 it is the paper's Adam (section 5.3).

    Only matrices of linear layers decay. Embeddings (also where tied to the output projection), biases, norms
    and learned positions do not: their scale carries meaning.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    matrices = [
        module.weight
        for module in model.modules()
        if isinstance(module, nn.Linear) and id(module.weight) not in embeddings
    ]
    decayed = {id(weight) for weight in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in decayed]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}],
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.eps,
        fused=device.type in ("cpu", "cuda"),
    )
