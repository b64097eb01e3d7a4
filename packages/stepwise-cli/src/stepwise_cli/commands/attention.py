"""`stepwise attention`."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stepwise_cli.options import find_run, runs_dir_option

if TYPE_CHECKING:
    from stepwise_core.config import ModelConfig
    from stepwise_core.pictures.files import PictureFormat

KINDS = ("encoder", "decoder", "cross")
FORMATS: tuple["PictureFormat", ...] = ("png", "svg")


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> list[int] | None:
    """Read "0,2" as [0, 2], each number once."""
    if value is None:
        return None
    pieces = [piece.strip() for piece in value.split(",")]
    if not all(piece.isdecimal() for piece in pieces):
        raise click.BadParameter(f"{value!r} is no list of numbers such as 0,2")
    return list(dict.fromkeys(int(piece) for piece in pieces))


def _formats(ctx: click.Context, param: click.Parameter, value: str) -> list["PictureFormat"]:
    """Read "png,svg" as ["png", "svg"]."""
    pieces = [piece.strip().lower() for piece in value.split(",")]
    unknown = [piece for piece in pieces if piece not in FORMATS]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(FORMATS)}")
    return [known for known in FORMATS if known in pieces]


@click.command()
@click.argument("run", required=False)
@click.option("--text", required=True, help="Text that the model reads.")
@click.option("--target", help="Translation to look at; default: the one that the model writes.")
@click.option("--kind", type=click.Choice([*KINDS, "all"]), default="all", show_default=True)
@click.option("--layers", callback=_numbers, metavar="N,…", help="Layers, counted from 0; default: all.")
@click.option("--heads", callback=_numbers, metavar="N,…", help="Heads, counted from 0; default: all.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the pictures; default: pictures/attention/… in the run folder.",
)
@click.option("--format", "formats", callback=_formats, default="png,svg", show_default=True)
@runs_dir_option
@click.option(
    "--checkpoint", help="best, latest, averaged, step-…; default: averaged if there is one, else best."
)
@click.option("--device", default="auto", show_default=True)
def attention(
    run: str | None,
    text: str,
    target: str | None,
    kind: str,
    layers: list[int] | None,
    heads: list[int] | None,
    output: Path | None,
    formats: list["PictureFormat"],
    runs_dir: Path,
    checkpoint: str | None,
    device: str,
) -> None:
    """Draw where a trained model looks while it translates a text.

    RUN is a name, a unique prefix, a path, or `latest` (the default). Prints the translation, then the files.

    A row of a picture is a token that looks, a column a token that is looked at. The weights show where
    information may flow, not why the model decided.
    """
    from stepwise_core.decoding.attention import attend_text
    from stepwise_core.pictures.text_attention import save_text_attention
    from stepwise_core.trained import load_run

    loaded = load_run(find_run(runs_dir, run), checkpoint, device)
    kinds = KINDS if kind == "all" else (kind,)
    _check_numbers(loaded.config.model, kinds, layers, heads)
    found = attend_text(loaded.model, loaded.tokenizers, text, target)
    folder = output or loaded.folder.pictures / "attention" / _folder_name(found.source, found.target)
    paths = save_text_attention(found, folder, formats, kinds=kinds, layers=layers, heads=heads)
    click.echo(found.target)
    for path in paths:
        click.echo(path)


def _check_numbers(
    model: "ModelConfig", kinds: Sequence[str], layers: list[int] | None, heads: list[int] | None
) -> None:
    """Refuse a layer or head that a chosen kind does not have.

    Raises:
        click.BadParameter: naming the first such number and what there is.
    """
    for kind in kinds:
        n_layers = model.encoder_layers if kind == "encoder" else model.decoder_layers
        stack = "encoder" if kind == "encoder" else "decoder"
        for option, numbers, count in (("layer", layers, n_layers), ("head", heads, model.n_heads)):
            wrong = [number for number in numbers or () if number >= count]
            if wrong:
                raise click.BadParameter(
                    f"there is no {option} {wrong[0]}: {option}s of the {stack} are 0 to {count - 1}",
                    param_hint=f"--{option}s",
                )


def _folder_name(source: str, target: str) -> str:
    """Name a folder after what is drawn in it: readable, safe, and another one for another text."""
    from stepwise_track.naming import safe_name

    checksum = zlib.crc32(f"{source}\n{target}".encode("utf-8", "surrogatepass"))
    return f"{safe_name(source[:40])}-{checksum:08x}"
