"""`stepwise inspect`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepwise_cli.console import console
from stepwise_cli.options import find_run, runs_dir_option

if TYPE_CHECKING:
    from stepwise_core.config import Config
    from stepwise_core.data.tokenizers import TokenizerPair
    from stepwise_core.pictures.files import PictureFormat
    from stepwise_core.pictures.structure import MemoryEstimate, ModelRow


@click.command()
@click.argument("model", metavar="[RUN|CONFIG]", required=False)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change any setting of a CONFIG."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The diagram's file, .png or .svg, or both without an ending; default: pictures/architecture in the "
    "folder of a RUN, CONFIG-architecture here for a CONFIG.",
)
@runs_dir_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(
    model: str | None, overrides: tuple[str, ...], output: Path | None, runs_dir: Path, as_json: bool
) -> None:
    """Count the parameters of a model, block by block, and draw its architecture.

    RUN is a name, a unique prefix, a path, or `latest` (the default); CONFIG is a file or a shipped
    configuration. Shapes come from a real pass through the model; of a CONFIG, no weights are made.
    """
    from stepwise_core.pictures.architecture import architecture_figure
    from stepwise_core.pictures.files import save_figure
    from stepwise_core.pictures.structure import build_outline, describe_model, estimate_memory

    name, default, config, tokenizers = _find(model, runs_dir, overrides)
    folder, stem, formats = _destination(output or default)
    sizes = tokenizers.source.vocab_size, tokenizers.target.vocab_size
    built = build_outline(config.model, *sizes)
    rows, memory = describe_model(built), estimate_memory(built)
    description = f"Architecture of {name}, with shapes and parameter counts"
    pictures = save_figure(architecture_figure(built, name), folder, stem, formats, description=description)
    if as_json:
        figures = {
            "name": name,
            "blocks": [asdict(row) for row in rows],
            "parameters": sum(row.parameters for row in rows if row.depth == 0),
            "memory_bytes": {**asdict(memory), "total": memory.total},
            "pictures": [str(path) for path in pictures],
        }
        click.echo(json.dumps(figures, indent=2, ensure_ascii=False))
        return
    _show(name, rows, memory)
    for path in pictures:
        click.echo(path)


def _find(
    model: str | None, runs_dir: Path, overrides: tuple[str, ...]
) -> tuple[str, Path, "Config", "TokenizerPair"]:
    """Return what is inspected: its name, where its diagram goes, its configuration and tokenizers.

    Raises:
        RunError: if the name means neither a run nor a configuration.
        DataError: if the data that decide a vocabulary cannot be read.
    """
    from stepwise_core.config import load_config, shipped_configs
    from stepwise_core.data.dataset import load_dataset
    from stepwise_core.data.tokenizers import TokenizerPair, build_tokenizers
    from stepwise_core.errors import RunError
    from stepwise_core.runs import RunFolder
    from stepwise_track.errors import TrackError
    from stepwise_track.reader import is_run_dir

    is_run = model is None or is_run_dir(runs_dir / model) or is_run_dir(Path(model))
    if model is not None and not is_run and (model in shipped_configs() or Path(model).is_file()):
        resolved = load_config(model, overrides).config
        tokenizers = build_tokenizers(resolved.tokenizer, load_dataset(resolved.data))
        stem = Path(model).stem
        return stem, Path(f"{stem}-architecture"), resolved, tokenizers
    if overrides:
        raise click.UsageError("--set changes a CONFIG; the settings of a RUN are settled")
    try:
        folder = RunFolder(find_run(runs_dir, model))
    except TrackError as error:
        alternative = "" if model is None else f", and no configuration {model!r}"
        raise RunError(f"{error}{alternative}", hint=error.hint) from None
    return (
        folder.name,
        folder.pictures / "architecture",
        folder.config(),
        TokenizerPair.load(folder.tokenizer),
    )


def _destination(output: Path) -> tuple[Path, str, list["PictureFormat"]]:
    """Split a file name into folder, name and formats: those that its ending names, else both."""
    if output.suffix == ".png":
        return output.parent, output.stem, ["png"]
    if output.suffix == ".svg":
        return output.parent, output.stem, ["svg"]
    return output.parent, output.name, ["png", "svg"]


def _show(name: str, rows: list["ModelRow"], memory: "MemoryEstimate") -> None:
    """Print the table of blocks and the memory that training keeps."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(name), title_justify="left")
    for heading in ("block", "type", "output shape"):
        table.add_column(heading, no_wrap=True)
    table.add_column("parameters", justify="right", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    for row in rows:
        counted = f"tied to {row.tied_to}" if row.tied_to and not row.parameters else f"{row.parameters:,}"
        shown = "  " * row.depth + (row.name if row.depth < 2 else row.name.rpartition(".")[2])
        if row.depth == 1 and row.repeats > 1:
            shown += f"  ({row.repeats} ×)"
        style = "" if row.depth < 2 else "dim"
        table.add_row(shown, row.type, row.output_shape, counted, f"{row.share:.1%}", style=style)
    table.add_section()
    table.add_row("total", "", "", f"{sum(row.parameters for row in rows if row.depth == 0):,}", "100.0%")
    console().print(table)
    console().print(
        f"training keeps {_bytes(memory.total)}: weights {_bytes(memory.weights)}, gradients "
        f"{_bytes(memory.gradients)}, AdamW {_bytes(memory.optimizer)}; activations come on top"
    )


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"
