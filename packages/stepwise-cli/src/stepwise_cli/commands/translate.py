"""`stepwise translate`."""

import sys
from pathlib import Path

import click

from stepwise_cli.options import find_run, runs_dir_option


@click.command()
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@click.option("--run", help="Name, unique prefix, path, or latest.  [default: latest]")
@runs_dir_option
@click.option(
    "--checkpoint", help="best, latest, averaged, step-…; default: averaged if there is one, else best."
)
@click.option("--beam-size", type=click.IntRange(1), help="Hypotheses per sentence; default: as configured.")
@click.option("--length-penalty", type=click.FloatRange(0), help="Alpha; default: as configured.")
@click.option(
    "--n-best", type=click.IntRange(1), default=1, help="Print so many outputs per text, with scores."
)
@click.option("--device", default="auto", show_default=True)
def translate(
    texts: tuple[str, ...],
    run: str | None,
    runs_dir: Path,
    checkpoint: str | None,
    beam_size: int | None,
    length_penalty: float | None,
    n_best: int,
    device: str,
) -> None:
    """Translate texts, or standard input line by line, with a trained model.

    The outputs go to standard output, a line each, in the order of the inputs; an empty line stays empty.
    """
    from stepwise_core.decoding.translate import encode_source
    from stepwise_core.decoding.translate import translate as search
    from stepwise_core.trained import load_run

    loaded = load_run(find_run(runs_dir, run), checkpoint, device)
    beam_size = beam_size or max(n_best, loaded.config.evaluation.beam_size)
    changes = {"beam_size": beam_size, "length_penalty": length_penalty}
    decoding = loaded.config.evaluation.model_copy(update={k: v for k, v in changes.items() if v is not None})
    if n_best > decoding.beam_size:
        raise click.UsageError(
            f"--n-best {n_best} needs a beam at least as wide; --beam-size is {decoding.beam_size}"
        )
    lines = list(texts) if texts else _standard_input()
    for number, line in enumerate(lines):  # all are looked at before the first is translated
        if line.strip():
            encode_source(loaded.tokenizers, line, number, loaded.config.model.max_length)
    for chunk in _chunks(lines, decoding.batch_size):
        wanted = [line for line in chunk if line.strip()]
        found = iter(search(loaded.model, loaded.tokenizers, wanted, decoding, n_best=n_best))
        for line in chunk:
            if not line.strip():
                click.echo()
            elif n_best == 1:
                click.echo(next(found).output)
            else:
                translation = next(found)
                for output, hypothesis in zip(translation.outputs, translation.hypotheses, strict=True):
                    click.echo(f"{hypothesis.score:.4f}\t{output}")


def _standard_input() -> list[str]:
    """Read standard input as UTF-8 lines, the way training text is read: line n in gives line n out.

    Raises:
        DataError: if it is not UTF-8.
    """
    from stepwise_core.errors import DataError

    if sys.stdin.isatty():
        click.echo("reading from the keyboard; end with Ctrl-D", err=True)
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"standard input, line {line}: not UTF-8 (byte 0x{error.object[error.start]:02x})",
            hint="convert it, e.g. iconv -f latin1 -t utf-8 FILE | stepwise translate",
        ) from None
    # Split at \n alone; splitlines() would split at U+2028 and the like too, and misalign the output.
    return [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []


def _chunks(lines: list[str], size: int) -> list[list[str]]:
    return [lines[start : start + size] for start in range(0, len(lines), size)]
