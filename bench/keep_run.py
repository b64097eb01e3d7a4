"""Keep what a run showed: scores with their signatures, cost, curve and examples, as a page in bench/results/."""

import argparse
import json
import shutil
from pathlib import Path

from run import HERE, processor
from stepwise_core.runs import RunFolder
from stepwise_core.training.checkpoints import read_state
from stepwise_track import read_series


def main() -> None:
    """Write bench/results/NAME.md and NAME.png from a run folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder, evaluated and trained on this machine")
    parser.add_argument("--name", help="name of the page (default: that of the run)")
    arguments = parser.parse_args()
    folder = RunFolder(arguments.run)
    name = arguments.name or folder.name
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    shutil.copyfile(folder.pictures / "training-curves.png", results / f"{name}.png")
    page = "\n".join(_page(folder, name)) + "\n"
    (results / f"{name}.md").write_text(page, encoding="utf-8")
    print(page)


def _page(folder: RunFolder, name: str) -> list[str]:
    evaluation = json.loads(folder.evaluation_file.read_text(encoding="utf-8"))
    environment = json.loads((folder.path / "environment.json").read_text(encoding="utf-8"))
    state = read_state(folder.checkpoints / "latest")
    assert state is not None, "the run has no checkpoint"
    scores, signatures = evaluation["scores"], evaluation["signatures"]
    size, threads = folder.config(), folder.config().training.threads or "all"
    speed = state.tokens / state.seconds
    lines = [
        f"# {name}",
        "",
        f"{state.step:,} steps in {state.seconds / 60:.0f} minutes on {processor()}, {threads} thread(s), torch "
        f"{environment['packages']['torch']}: {state.tokens / 1e6:.1f} million useful tokens, {speed:,.0f} a second, "
        f"{1 - state.tokens / state.cells:.1%} padding. {scores['model_size_bytes'] / 4e6:.2f} million parameters, "
        f"{size.tokenizer.type} vocabulary of {size.tokenizer.vocab_size:,}. Data version "
        f"`{evaluation['data_version']}`.",
        "",
        f"Split {evaluation['split']}, {int(scores['num_examples']):,} sentences, {evaluation['decoding']}, checkpoint "
        f"{evaluation['checkpoint']}:",
        "",
        "| score | value | signature |",
        "|---|---:|---|",
    ]
    for key in ("bleu", "chrf", "perplexity", "token_recall", "exact_match"):
        signature = _cell(signatures.get(key, ""))
        lines.append(f"| {key} | {scores[key]:.3f} | {signature} |")
    lines += ["", f"![training curves]({name}.png)", "", "| step | validation loss |", "|---:|---:|"]
    curve = read_series(folder.path)["validation/loss"]
    kept = curve[: -1 : max(1, len(curve) // 14)] + curve[-1:]
    lines += [f"| {step:,} | {loss:.4f} |" for step, loss, _ in kept]
    lines += ["", "| source | output | reference |", "|---|---|---|"]
    for example in evaluation["examples"][:8]:
        lines.append(f"| {' | '.join(_cell(example[key]) for key in ('source', 'output', 'reference'))} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
