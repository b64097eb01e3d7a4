"""Honest figures about a running training: memory, gradient norms, histograms, utilisation."""

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import nn

# Peak dense bfloat16 FLOP/s of devices whose data sheet we know. Of others no utilisation is reported: a
# wrong peak makes a figure that looks like knowledge.
PEAK_FLOPS = {
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA H200": 989e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA L4": 121e12,
    "NVIDIA L40S": 362e12,
}


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Return the peak FLOP/s of a device in a precision, or None where it is not known."""
    if device.type != "cuda" or precision != "bfloat16":
        return None
    return PEAK_FLOPS.get(torch.cuda.get_device_name(device))


def model_flops(parameters: int, tokens: int) -> float:
    """Estimate the FLOPs of training on tokens: 6 per parameter and token (Kaplan et al., 2020), attention left out."""
    return 6.0 * parameters * tokens


def gradient_norms_by_block(model: nn.Module) -> dict[str, float]:
    """Return the L2 norm of the gradient per block, e.g. `encoder.layers.0` or `output_projection`."""
    squares: dict[str, list[torch.Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            squares.setdefault(block_of(name), []).append(parameter.grad.detach().float().square().sum())
    return {block: float(torch.stack(terms).sum().sqrt()) for block, terms in squares.items()}


def block_of(parameter_name: str) -> str:
    """Return the block a parameter belongs to: `encoder.layers.0.self_attention…` -> `encoder.layers.0`."""
    parts = parameter_name.split(".")
    return ".".join(parts[:3]) if len(parts) > 2 and parts[1] == "layers" else parts[0]


def weights_and_gradients(model: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Return copies of all weights and gradients, named `weights/…` and `gradients/…`, to make histograms of."""
    values = {}
    for name, parameter in model.named_parameters():
        values[f"weights/{name}"] = _copy(parameter)
        if parameter.grad is not None:
            values[f"gradients/{name}"] = _copy(parameter.grad)
    return values


def _copy(tensor: torch.Tensor) -> NDArray[np.float32]:
    return tensor.detach().float().cpu().numpy().copy()


def memory_in_use(device: torch.device) -> dict[str, int]:
    """Return bytes in use: `process` (resident), and `gpu` / `gpu_peak` on a GPU."""
    figures = {"process": psutil.Process().memory_info().rss}
    if device.type == "cuda":
        figures["gpu"] = torch.cuda.memory_allocated(device)
        figures["gpu_peak"] = torch.cuda.max_memory_allocated(device)
    return figures
