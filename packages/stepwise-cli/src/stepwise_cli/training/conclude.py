"""The end of a training: scores on held-out data, pictures, and one table that says it all."""

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from stepwise_cli.console import console
from stepwise_cli.progress import counting
from stepwise_core.data.dataset import Dataset
from stepwise_core.evaluation import Evaluation
from stepwise_core.runs import RunFolder
from stepwise_track import ExperimentLogger, log_metrics_to_clearml

if TYPE_CHECKING:
    from stepwise_core.decoding.attention import TextAttention
    from stepwise_core.trained import LoadedRun

ATTENTION_FILE, ATTENTION_TOKENS = "attention.json", 64
SCORES_SHOWN = ("exact_match", "token_accuracy", "token_recall", "bleu", "chrf", "perplexity", "num_examples")


def conclude(folder: RunFolder, dataset: Dataset, logger: ExperimentLogger) -> None:
    """Score the test split, draw curves and attention, record everything, print the final table."""
    from stepwise_core.evaluation import evaluate
    from stepwise_core.trained import load_run

    run = load_run(folder.path, device=folder.config().training.device)
    with counting("scoring held-out examples", len(dataset.test)) as advance:
        evaluation = evaluate(run, dataset, on_progress=advance)
    evaluation.save(folder.evaluation_file)
    log_metrics_to_clearml(logger, evaluation.scores)
    logger.log_single_value("training_seconds", run.state.seconds)
    pictures = draw_pictures(run, dataset)
    if run.config.logging.log_artifacts:
        logger.log_artifact("evaluation", folder.evaluation_file)
        logger.log_artifact("attention", folder.pictures / ATTENTION_FILE)
        for picture in pictures:
            logger.log_figure(picture.stem, picture, step=run.state.step)
    show_outcome(folder, evaluation, run.state.seconds)


def draw_pictures(run: "LoadedRun", dataset: Dataset) -> list[Path]:
    """Draw training curves, the architecture, and where the model looks in one test sentence; return the PNG files."""
    from stepwise_core.decoding.attention import attend_text
    from stepwise_core.pictures.architecture import save_architecture
    from stepwise_core.pictures.curves import save_training_curves
    from stepwise_core.pictures.text_attention import save_text_attention
    from stepwise_track.reader import read_series

    folder = run.folder.pictures
    series = read_series(run.folder.path)
    curves = {name: [(int(step), value) for step, value, _ in points] for name, points in series.items()}
    files = save_training_curves(curves, folder, run.folder.name)
    files += save_architecture(run.model, folder, run.folder.name)
    attention = attend_text(run.model, run.tokenizers, dataset.test[0].source)
    files += save_text_attention(attention, folder / "attention")
    (folder / ATTENTION_FILE).write_text(attention_document(attention), encoding="utf-8")
    return [file for file in files if file.suffix == ".png"]


def attention_document(attention: "TextAttention") -> str:
    """Return attention weights as JSON, for pages that show them: `kinds[kind]` has rows, columns and weights.

    Weights are thousandths, [layer][head][row][column]: as exact as a colour, and a quarter of the size. Of a
    long text only the first tokens are kept; then `whole` is false.
    """
    from stepwise_core.models.attention_maps import KINDS
    from stepwise_core.pictures.text_attention import attention_maps

    kept, kinds = slice(ATTENTION_TOKENS), {}
    for kind in KINDS:
        maps = attention_maps(attention, kind)
        weights = (maps.weights[:, :, kept, kept] * 1000).round().astype(int).tolist()
        tokens = {"rows": list(maps.query_tokens)[kept], "columns": list(maps.key_tokens)[kept]}
        kinds[kind] = {**tokens, "weights": weights}
    whole = max(len(attention.source_tokens), len(attention.target_tokens)) <= ATTENTION_TOKENS
    return json.dumps(
        {"source": attention.source, "target": attention.target, "whole": whole, "kinds": kinds}
    )


def show_outcome(folder: RunFolder, evaluation: Evaluation, seconds: float) -> None:
    """Print one table: scores, a few translations, and where to look."""
    table = Table(evaluation.run, f"{evaluation.split} split, {evaluation.decoding}")
    for name in SCORES_SHOWN:
        table.add_row(name, _number(name, evaluation.scores[name]))
    table.add_row("training time", f"{seconds:.0f} s", end_section=True)
    wrong = [example for example in evaluation.examples[6:] if not example.exact][:2]
    for example in [*evaluation.examples[:6], *wrong]:
        verdict = "✓" if example.exact else f"✗ {example.reference}"
        table.add_row(
            Text(example.source), Text(f"{example.output} {verdict}")
        )  # Text: "[red]" is no markup here
    table.add_section()
    table.add_row("curves", str(folder.pictures / "training-curves.png"))
    table.add_row("attention", str(folder.pictures / "attention"))
    table.add_row("model", str(folder.pictures / "architecture.png"))
    table.add_row("everything", str(folder.path))
    table.add_row(
        "next", Text(f'{_program()} translate --run {folder.path} "{evaluation.examples[0].source}"')
    )
    console().print(table)


def _number(name: str, value: float) -> str:
    if name in ("exact_match", "token_accuracy", "token_recall"):
        return f"{value:.2%}"
    return f"{value:,.0f}" if name == "num_examples" else f"{value:.3f}"


def _program() -> str:
    """How to call `stepwise` from this shell: by name where it is on the PATH, else by where it is."""
    if shutil.which("stepwise"):
        return "stepwise"
    program = Path(sys.executable).with_name("stepwise")
    return str(program.relative_to(Path.cwd()) if program.is_relative_to(Path.cwd()) else program)
