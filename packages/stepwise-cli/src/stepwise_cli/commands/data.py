"""`stepwise data`: what there is to learn from, what it looks like, and how to keep it as files and versions."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stepwise_cli.commands.data_versions import pull_command, push_command, versions_command
from stepwise_cli.options import chosen_config, config_options

if TYPE_CHECKING:
    from stepwise_core.data.preparation import DataSummary, HistogramBar, PreparedData

BAR_WIDTH = 30


@click.group()
def data() -> None:
    """List, show, prepare and version datasets."""


for versioning in (push_command, pull_command, versions_command):
    data.add_command(versioning)


@data.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_sources(as_json: bool) -> None:
    """List the kinds of data that `data.name` can be."""
    from stepwise_core.data.sources import SOURCES

    if as_json:
        rows = [
            {"name": name, "summary": source.summary, "example": _pair(source.example)}
            for name, source in SOURCES.items()
        ]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    for name, source in SOURCES.items():
        click.echo(f"{name:10} {source.summary}")
        click.echo(f"{'':10} {source.example.source} -> {source.example.target}")
    click.echo("\nnext: stepwise data show --set data.name=NAME")


@data.command()
@config_options
@click.option(
    "--split", type=click.Choice(["train", "valid", "test"]), default="train", show_default=True,
    help="Where the examples come from.",
)  # fmt: skip
@click.option(
    "-n", "--number", type=click.IntRange(0), default=5, show_default=True, help="Examples to show."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(
    config: str | None,
    config_option: str | None,
    overrides: tuple[str, ...],
    split: str,
    number: int,
    as_json: bool,
) -> None:
    """Show the data of a configuration: examples, tokens, lengths, vocabulary, padding.

    CONFIG is a file, a run folder or the name of a shipped configuration.
    """
    from stepwise_core.config import load_config
    from stepwise_core.data.preparation import prepare

    resolved = load_config(chosen_config(config, config_option), overrides)
    prepared = prepare(resolved.config)
    if as_json:
        click.echo(json.dumps(_as_json(prepared, split, number), indent=2, ensure_ascii=False))
        return
    _print_summary(prepared.summary, resolved.config.model.max_length)
    for side in ("source", "target"):
        click.echo(f"\n{side} lengths in {split} (tokens with the end mark)")
        _print_histogram(getattr(prepared.summary.splits[split], side).histogram)
    _print_examples(prepared, split, number)


@data.command("prepare")
@config_options
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Folder to write; default: data/<name>."
)
def prepare_files(
    config: str | None, config_option: str | None, overrides: tuple[str, ...], output: Path | None
) -> None:
    """Write the data of a configuration to files: texts, tokenizers, and a configuration that reads them."""
    from stepwise_core.config import load_config
    from stepwise_core.data.preparation import check_replaceable, prepare, write_prepared

    resolved = load_config(chosen_config(config, config_option), overrides)
    if output is not None:
        check_replaceable(output.resolve())  # before the work, not after it
    prepared = prepare(resolved.config)
    folder = output or Path("data") / prepared.summary.name
    write_prepared(prepared, resolved.config, folder)
    sizes = ", ".join(f"{name} {split.n_examples}" for name, split in prepared.summary.splits.items())
    click.echo(f"wrote {folder}: {sizes}, version {prepared.summary.version}")
    click.echo(f"next: stepwise train {folder}")


def _as_json(prepared: "PreparedData", split: str, number: int) -> dict[str, Any]:
    from dataclasses import asdict

    examples = [
        {**_pair(example), "source_tokens": source, "target_tokens": target}
        for example, source, target in _tokenized(prepared, split, number)
    ]
    return {**asdict(prepared.summary), "split": split, "examples": examples}


def _pair(example: Any) -> dict[str, str]:
    return {"source": example.source, "target": example.target}


def _tokenized(
    prepared: "PreparedData", split: str, number: int
) -> Iterable[tuple[Any, list[str], list[str]]]:
    """Yield the first examples of a split with their tokens."""
    source, target = prepared.tokenizers.source, prepared.tokenizers.target
    for example in prepared.dataset.split(split)[:number]:
        yield (
            example,
            source.tokens(source.encode(example.source)),
            target.tokens(target.encode(example.target)),
        )


def _print_summary(summary: "DataSummary", max_length: int) -> None:
    from rich.table import Table

    from stepwise_cli.console import console

    vocabulary = (
        f"{summary.source_vocabulary.size} tokens, shared"
        if summary.shared_vocabulary
        else f"{summary.source_vocabulary.size} source and {summary.target_vocabulary.size} target tokens"
    )
    click.echo(f"dataset     {summary.name}, version {summary.version}")
    click.echo(f"vocabulary  {summary.tokenizer_type}: {vocabulary}")
    click.echo(
        f"batches     {summary.n_batches} of {summary.batch_size} {summary.batch_by}, "
        f"{summary.padding_ratio:.1%} padding"
    )
    for remark in summary.remarks:
        click.echo(f"remark      {remark}")
    table = Table("split", "examples", "side", "mean length", "longest", "unknown", "too long")
    for column in table.columns[1:2] + table.columns[3:]:
        column.justify = "right"
    for name, split in summary.splits.items():
        for side, lengths in (("source", split.source), ("target", split.target)):
            first = side == "source"
            table.add_row(
                name if first else "",
                str(split.n_examples) if first else "",
                side,
                f"{lengths.mean_length:.1f}",
                str(lengths.longest),
                f"{lengths.unknown_ratio:.2%}",
                str(split.n_too_long) if first else "",
            )
    console().print(table)
    if any(split.n_too_long for split in summary.splits.values()):
        click.echo(f"too long: above model.max_length {max_length}; raise it to train on this data")


def _print_histogram(bars: list["HistogramBar"]) -> None:
    most = max(bar.count for bar in bars)
    labels = [str(bar.first) if bar.first == bar.last else f"{bar.first}-{bar.last}" for bar in bars]
    width = max(map(len, labels))
    for label, bar in zip(labels, bars, strict=True):
        length = round(BAR_WIDTH * bar.count / most)
        click.echo(f"  {label:>{width}}  {'█' * length:{BAR_WIDTH}}  {bar.count}")


def _print_examples(prepared: "PreparedData", split: str, number: int) -> None:
    """Print each text, and under it its tokens."""
    for example, source, target in _tokenized(prepared, split, number):
        click.echo(f"\nsource  {example.source}\n        {' '.join(source)}")
        click.echo(f"target  {example.target}\n        {' '.join(target)}")
