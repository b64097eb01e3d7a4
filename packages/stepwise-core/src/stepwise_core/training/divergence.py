"""When the loss or a gradient is not finite: stop before the update, and keep what is needed to find out why."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stepwise_core.components.masks import AttentionMask
from stepwise_core.data.batches import Batch
from stepwise_core.data.tokenizers import TokenizerPair
from stepwise_core.files import folder_written_atomically
from stepwise_core.models.transformer import Transformer


def save_divergence(
    folder: Path,
    model: Transformer,
    batches: Sequence[Batch],
    tokenizers: TokenizerPair,
    facts: dict[str, float],
    device: torch.device,
) -> Path:
    """Write the batch and the statistics of weights, gradients and activations of a diverged step.

    Args:
        folder: folder to make, e.g. `divergence/step-00000012`.
        model: with the gradients of the step; its weights are those before the update.
        batches: micro-batches of the step.
        tokenizers: to write the batch as text.
        facts: step, loss, learning rate, gradient norm.
        device: where the model is.

    Returns:
        The folder, with `batch.json` and `statistics.json`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    parameters = dict(model.named_parameters())
    statistics = {
        "facts": {key: _json_number(value) for key, value in facts.items()},
        "weights": {name: describe(parameter) for name, parameter in parameters.items()},
        "gradients": {name: describe(p.grad) for name, p in parameters.items() if p.grad is not None},
        "activations": [_activations(model, batch, device) for batch in batches],
    }
    with folder_written_atomically(folder) as place:
        content = [example for batch in batches for example in _texts(batch, tokenizers)]
        (place / "batch.json").write_text(
            json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        (place / "statistics.json").write_text(json.dumps(statistics, indent=2) + "\n", encoding="utf-8")
    return folder


def describe(values: Tensor) -> dict[str, Any]:
    """Return shape, count of NaN and infinite values, and min, max, mean, standard deviation of the finite ones."""
    values = values.detach().float()
    finite = values[values.isfinite()]
    figures = {
        "shape": list(values.shape),
        "nan": int(values.isnan().sum()),
        "infinite": int(values.isinf().sum()),
    }
    if finite.numel():
        spread = float(finite.std(correction=0))
        figures |= {
            "min": float(finite.min()),
            "max": float(finite.max()),
            "mean": float(finite.mean()),
            "std": spread,
        }
    return figures


@torch.no_grad()
def _activations(model: Transformer, batch: Batch, device: torch.device) -> dict[str, dict[str, Any]]:
    """Describe the output of every module, in the order in which they ran: the first bad one is the cause."""
    seen: dict[str, dict[str, Any]] = {}

    def watch(name: str, module: nn.Module) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                seen[name] = describe(output)

        return module.register_forward_hook(hook)

    handles = [watch(name, module) for name, module in model.named_modules() if name]
    try:
        mask = AttentionMask.from_lengths(batch.source_lengths, batch.source.shape[1], device)
        batch = batch.to(device)
        model(batch.source, batch.target_input, mask)
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _texts(batch: Batch, tokenizers: TokenizerPair) -> list[dict[str, Any]]:
    rows = zip(batch.indices, batch.source.tolist(), batch.target_output.tolist(), strict=True)
    return [
        {
            "index": index,
            "source": tokenizers.source.decode(source),
            "target": tokenizers.target.decode(target),
            "source_ids": source,
            "target_ids": target,
        }
        for index, source, target in rows
    ]


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
