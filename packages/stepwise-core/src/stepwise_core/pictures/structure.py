"""What a model is made of: its blocks, the shapes that really flow through them, and where its parameters are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stepwise_core.config import ModelConfig
from stepwise_core.models import Transformer, build_model

_EXAMPLE_LENGTHS = (3, 2)  # S and T; unequal, so that a shape tells which of the two it has


@dataclass(frozen=True)
class Trace:
    """One forward pass, as seen from outside.

    Attributes:
        shapes: output shape of each module by name, in the order in which the modules finished.
        source_length: S of the example.
        target_length: T of the example.
    """

    shapes: dict[str, tuple[int, ...]]
    source_length: int
    target_length: int

    def shape(self, name: str) -> str:
        """The output shape of a module as "B × S × 64"; empty if it gave no tensor."""
        return symbolic_shape(self.shapes.get(name, ()), self.source_length, self.target_length)

    def runs_before(self, first: str, second: str) -> bool:
        """Whether one module finished before another did."""
        order = list(self.shapes)
        return order.index(first) < order.index(second)


@dataclass(frozen=True)
class ModelRow:
    """One block of a model.

    Attributes:
        name: dotted name, such as "encoder.layers.0-5.self_attention".
        type: class name.
        depth: 0 for the direct children of the model, whose parameters sum to the total.
        repeats: how many equal layers the row stands for.
        output_shape: such as "B × S × 64".
        parameters: of all repeats; parameters that an earlier row has count there.
        share: parameters as a part of the model's total, 0 to 1.
        tied_to: block that owns the shared weights; empty if there are none.
    """

    name: str
    type: str
    depth: int
    repeats: int
    output_shape: str
    parameters: int
    share: float
    tied_to: str


def symbolic_shape(shape: tuple[int, ...], source_length: int, target_length: int) -> str:
    """(1, S, 64) as "B × S × 64": the first two sizes belong to the example, the others to the model."""
    letters = {source_length: "S", target_length: "T"}
    sizes = ["B", *(letters.get(size, str(size)) for size in shape[1:2]), *map(str, shape[2:])]
    return " × ".join(sizes) if shape else ""


def build_outline(config: ModelConfig, source_vocab_size: int, target_vocab_size: int) -> Transformer:
    """Build a model whose weights have shapes but no values, so that one of any size can be looked at.

    Raises:
        ValueError: as `Transformer`.
    """
    with torch.device("meta"):
        return build_model(config, source_vocab_size, target_vocab_size)


def trace_shapes(model: Transformer) -> Trace:
    """Run one example of batch size 1 through the model and notes the shape that each module gives.

    The model is left as it was: no dropout is drawn, no gradient is kept.
    """
    n_source, n_target = (min(length, model.config.max_length) for length in _EXAMPLE_LENGTHS)
    shapes: dict[str, tuple[int, ...]] = {}

    def noting(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                shapes[name] = tuple(output.shape)

        return hook

    hooks = [module.register_forward_hook(noting(name)) for name, module in model.named_modules()]
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            model(
                torch.zeros(1, n_source, dtype=torch.long, device=device),  # (1, S)
                torch.zeros(1, n_target, dtype=torch.long, device=device),  # (1, T)
            )
    finally:
        for module, training in modes.items():
            module.training = training
        for handle in hooks:
            handle.remove()
    return Trace(shapes, n_source, n_target)


class Parameters:
    """Count each parameter once, for the first block in the model that has it.

    Args:
        model: its blocks are its modules, in the order of definition.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._owners: dict[nn.Parameter, str] = {}
        for name, parameter in model.named_parameters():
            self._owners[parameter] = name
        self.total = sum(parameter.numel() for parameter in self._owners)

    def owned(self, name: str) -> int:
        """Numbers in the parameters that the module of this name is the first to have."""
        parts = set(self._model.get_submodule(name).parameters())
        return sum(part.numel() for part in parts if self._is_inside(self._owners[part], name))

    def tied_to(self, name: str) -> str:
        """The top-level block that owns a weight which the module of this name shares, or ""."""
        for part in self._model.get_submodule(name).parameters():
            owner = self._owners[part]
            if not self._is_inside(owner, name):
                return owner.partition(".")[0]
        return ""

    @staticmethod
    def _is_inside(parameter: str, module: str) -> bool:
        return parameter.startswith(f"{module}.")


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that training keeps from step to step. Activations come on top; they depend on the batch.

    Attributes:
        weights: the parameters, each once.
        gradients: as much again.
        optimizer: AdamW's two running means per parameter.
    """

    weights: int
    gradients: int
    optimizer: int

    @property
    def total(self) -> int:
        """All three."""
        return self.weights + self.gradients + self.optimizer


def estimate_memory(model: nn.Module) -> MemoryEstimate:
    """Count the bytes that training a model with AdamW keeps from step to step."""
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return MemoryEstimate(weights=weights, gradients=weights, optimizer=2 * weights)


def describe_model(model: Transformer) -> list[ModelRow]:
    """List the blocks of a model with the shapes and parameters they really have.

    Args:
        model: any transformer; it is run once on a tiny example.

    Returns:
        One row per block, layer and part of a layer. Layers that are alike share rows. The parameters of the rows of
        depth 0 sum to the parameters of the model, each tied weight once.
    """
    trace, parameters = trace_shapes(model), Parameters(model)
    rows = []
    for name, shown, depth, repeats in _blocks(model):
        owned = sum(parameters.owned(each) for each in name)
        rows.append(
            ModelRow(
                name=shown,
                type=type(model.get_submodule(name[0])).__name__,
                depth=depth,
                repeats=repeats,
                output_shape=trace.shape(name[0]),
                parameters=owned,
                share=owned / parameters.total,
                tied_to=parameters.tied_to(name[0]),
            )
        )
    return rows


def _blocks(model: nn.Module) -> Iterator[tuple[list[str], str, int, int]]:
    """Yield (names of the alike modules, name to show, depth, repeats)."""
    for name, block in model.named_children():
        yield [name], name, 0, 1
        layers = getattr(block, "layers", None)
        if not isinstance(layers, nn.ModuleList):
            continue
        for alike in _runs_of_alike(layers):
            numbers = str(alike[0]) if len(alike) == 1 else f"{alike[0]}-{alike[-1]}"
            names = [f"{name}.layers.{number}" for number in alike]
            yield names, f"{name}.layers.{numbers}", 1, len(alike)
            for part, _ in layers[alike[0]].named_children():
                yield [f"{each}.{part}" for each in names], f"{name}.layers.{numbers}.{part}", 2, len(alike)
        for part, module in block.named_children():
            if module is not layers and any(True for _ in module.parameters()):
                yield [f"{name}.{part}"], f"{name}.{part}", 1, 1


def _runs_of_alike(layers: nn.ModuleList) -> list[list[int]]:
    """Numbers of neighbouring layers that print alike, which is to say have the same parts and sizes."""
    runs: list[list[int]] = []
    for number, layer in enumerate(layers):
        if runs and repr(layer) == repr(layers[runs[-1][0]]):
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs
