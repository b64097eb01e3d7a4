"""`stepwise evaluate`."""

from pathlib import Path

import click

from stepwise_cli.console import print_json
from stepwise_cli.options import find_run, json_option, runs_dir_option


@click.command()
@click.argument("run", required=False)
@runs_dir_option
@click.option("--split", type=click.Choice(["train", "valid", "test"]), default="test", show_default=True)
@click.option(
    "--checkpoint", help="best, latest, averaged, step-…; default: averaged if there is one, else best."
)
@click.option("--beam-size", type=click.IntRange(1), help="Hypotheses per sentence; default: as configured.")
@click.option("--length-penalty", type=click.FloatRange(0), help="Alpha; default: as configured.")
@click.option("--max-examples", type=click.IntRange(1), help="Score only the first so many.")
@click.option("--device", default="auto", show_default=True)
@json_option
def evaluate(
    run: str | None,
    runs_dir: Path,
    split: str,
    checkpoint: str | None,
    beam_size: int | None,
    length_penalty: float | None,
    max_examples: int | None,
    device: str,
    as_json: bool,
) -> None:
    """Score a run on held-out data and write its evaluation.json.

    RUN is a name, a unique prefix, a path, or `latest` (the default).
    """
    from stepwise_cli.progress import counting
    from stepwise_cli.training.conclude import show_outcome
    from stepwise_core.data.dataset import load_dataset
    from stepwise_core.evaluation import evaluate as score
    from stepwise_core.trained import load_run

    loaded = load_run(find_run(runs_dir, run), checkpoint, device)
    dataset = load_dataset(loaded.config.data)
    changes = {"beam_size": beam_size, "length_penalty": length_penalty}
    decoding = loaded.config.evaluation.model_copy(update={k: v for k, v in changes.items() if v is not None})
    total = len(dataset.split(split)[:max_examples])
    with counting(f"scoring {split} examples", total) as advance:
        evaluation = score(loaded, dataset, split, decoding, max_examples=max_examples, on_progress=advance)
    evaluation.save(loaded.folder.evaluation_file)
    if as_json:
        print_json({"scores": evaluation.scores, "signatures": evaluation.signatures})
    else:
        show_outcome(loaded.folder, evaluation, loaded.state.seconds)
