"""Runs side by side, as a table for people, and as JSON, CSV or HTML for everything else."""

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from stepwise_cli.console import print_json
from stepwise_cli.tables import cell, clean, new_table, number, print_if_filled
from stepwise_track.summary import Comparison

FORMATS = ("table", "json", "csv", "html")


def show(result: Comparison, form: str) -> None:
    """Print a comparison in one of `FORMATS`."""
    {
        "table": _print_table,
        "json": lambda one: print_json(asdict(one)),
        "csv": _print_csv,
        "html": _print_html,
    }[form](result)


def _print_table(result: Comparison) -> None:
    parameters = new_table("Parameters that differ", "parameter", *map(clean, result.runs))
    for name, values in result.parameters.items():
        parameters.add_row(clean(name), *(cell(values[one]) if one in values else "-" for one in result.runs))
    metrics = new_table("Final metrics", "metric", *(f">{clean(one)}" for one in result.runs))
    for name, finals in result.metrics.items():
        best = result.best.get(name)
        cells = [
            ("★ " if one == best else "") + number(finals[one]) if one in finals else "-"
            for one in result.runs
        ]
        metrics.add_row(clean(name), *cells)
    if not result.parameters:
        click.echo("All parameters are equal.")
    print_if_filled(parameters)
    print_if_filled(metrics)


def _rows(result: Comparison) -> Iterator[tuple[str, str, str, list[Any]]]:
    """Yield kind, name, best run and the values in the order of the runs; None where a run has none."""
    for name, values in result.parameters.items():
        yield "parameter", name, "", [values.get(one) for one in result.runs]
    for name, finals in result.metrics.items():
        yield "metric", name, result.best.get(name, ""), [finals.get(one) for one in result.runs]


def _print_csv(result: Comparison) -> None:
    """Print a line for each parameter and metric; a cell that a spreadsheet would run as a formula gets a `'`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["kind", "name", "best", *map(_inert, result.runs)])
    for kind, name, best, values in _rows(result):
        writer.writerow([kind, _inert(name), _inert(best), *map(_inert, values)])
    click.echo(out.getvalue().encode("utf-8", "backslashreplace").decode(), nl=False)


def _inert(value: Any) -> Any:
    return (
        f"'{value}"
        if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
        else value
    )


def _print_html(result: Comparison) -> None:
    from stepwise_cli.report.page import template

    page = template("comparison.html.jinja").render(comparison=result)
    click.echo(page.encode("utf-8", "backslashreplace").decode())
