"""Gradient norms and weight distributions of a model, read without touching it.

Everything is computed on detached values, with no random numbers and no hooks: a watched training is the same
training, bit for bit. torch is not imported here: who has a model has imported it.
"""

import math
import re
import sys
from collections.abc import Iterator
from typing import Any

from stepwise_track import limits
from stepwise_track.files import as_array

_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+")


def group_of(parameter: str) -> str:
    """Return the block that a parameter belongs to: its name up to the first number, else up to the first dot.

    `encoder.layers.0.attention.query.weight` is of `encoder.layers.0`, `embedding.token.weight` of `embedding`.
    """
    numbered = re.match(r"(?:[^.]+\.)*?\d+(?=\.)", parameter)
    return numbered[0] if numbered else parameter.partition(".")[0]


class Watch:
    """One watched model.

    Args:
        model: anything with `named_parameters()`.
        every: steps from one look to the next.
        histograms: whether the distributions of the weights are wanted too.
        prefix: comes before the names of blocks and parameters, to tell two models apart.
    """

    def __init__(self, model: Any, every: int, *, histograms: bool, prefix: str) -> None:
        self._model = model
        self._every = every
        self._histograms = histograms
        self._prefix = prefix
        self._due = 0

    def is_due(self, step: int) -> bool:
        """Tell whether `every` steps have passed; also if they are not logged one by one."""
        if step < self._due:
            return False
        self._due = step - step % self._every + self._every
        return True

    def _named_parameters(self) -> Iterator[tuple[str, Any]]:
        """Yield the parameters under the names that they have without the wrappers of DDP and `torch.compile`."""
        for name, parameter in self._model.named_parameters():
            yield _WRAPPERS.sub("", name), parameter

    def gradient_norms(self) -> dict[str, float]:
        """Return the L2 norm of the gradient, overall and per block; empty where there are no gradients now."""
        squares: dict[str, list[Any]] = {}
        for name, parameter in self._named_parameters():
            if (gradient := getattr(parameter, "grad", None)) is not None:
                gradient = gradient.detach()
                if getattr(gradient, "is_sparse", False):
                    gradient = gradient.coalesce().values()
                squares.setdefault(group_of(name), []).append(gradient.norm(dtype=_wide(gradient)) ** 2)
        if not squares:
            return {}
        # Numbers leave the GPU here, once per block, after all kernels are under way.
        sums = {group: float(sum(items)) for group, items in squares.items()}
        norms = {f"gradient_norm/{self._prefix}total": math.sqrt(sum(sums.values()))}
        return norms | {
            f"gradient_norm/{self._prefix}{group}": math.sqrt(value) for group, value in sums.items()
        }

    def weights(self) -> Iterator[tuple[str, Any]]:
        """Yield name and values of every parameter; of large ones every k-th value."""
        if not self._histograms:
            return
        for name, parameter in self._named_parameters():
            values = parameter.detach().reshape(-1)
            stride = -(-values.numel() // limits.WATCH_VALUES)
            yield f"weights/{self._prefix}{name}", as_array(values[:: max(stride, 1)])


def _wide(tensor: Any) -> Any:
    """Return the type to add up in: float32 at least, so that half precision does not overflow."""
    torch: Any = sys.modules["torch"]
    return torch.promote_types(tensor.dtype, torch.float32)
