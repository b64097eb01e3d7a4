"""Loss curves of three tiny trainings, to full precision: nothing changes what training computes unnoticed.

A change that is meant to change them is recorded anew:

    STEPWISE_UPDATE_GOLDEN=1 python -m pytest packages/stepwise-core/tests/training/test_golden_curves.py

and the new files in golden/ go into the same commit as the reason.
"""

import json
import os
import platform
from pathlib import Path

import pytest
import torch
from tiny import train_run

GOLDEN = Path(__file__).with_name("golden")
STEPS = 12

PAPER = (
    *("preset=paper", "data.name=addition", "data.toy.min_length=1", "data.toy.max_length=5"),
    *("model.n_layers=2", "model.dropout=0.1", "training.warmup_steps=6"),
)
MODERN = (
    *("preset=modern", "data.name=sort", "model.n_layers=2", "model.dropout=0.0"),
    *("training.learning_rate=5.0e-3", "training.label_smoothing=0.0"),
)
GROUPED = (
    *("preset=modern", "data.name=parallel", "model.n_heads=4", "model.n_kv_heads=2", "model.dropout=0.1"),
    *("model.positions=learned", "model.norm=layernorm", "model.norm_position=post", "model.activation=gelu"),
    *("model.attention=reference", "model.attention_dropout=0.1", "tokenizer.type=word"),
    *("training.batch_by=tokens", "training.batch_size=120", "training.accumulation=2"),
    *("training.schedule=wsd", "training.learning_rate=3.0e-3", "training.weight_decay=0.1"),
)
SUBJECTS = ("a dog", "ein Hund"), ("two cats", "zwei Katzen"), ("the bird", "der Vogel"), ("we", "wir")
VERBS = ("sees", "sieht"), ("hears", "hört"), ("follows", "folgt")
PLACES = ("", ""), ("today", "heute"), ("in the garden", "im Garten"), ("at night", "nachts")


def parallel_text(folder: Path) -> list[str]:
    """Write 192 sentences and their translations, and return the settings that name the files."""
    pairs = [
        [" ".join(part for part in side if part) for side in zip(subject, verb, thing, place, strict=True)]
        for subject in SUBJECTS
        for verb in VERBS
        for thing in SUBJECTS
        for place in PLACES
    ]
    settings = []
    for split, rows in (("train", pairs[:160]), ("valid", pairs[160:176]), ("test", pairs[176:])):
        for side, name in enumerate(("source", "target")):
            path = folder / f"{split}.{name}"
            path.write_text("".join(f"{row[side]}\n" for row in rows), encoding="utf-8")
            settings.append(f"data.parallel.{split}_{name}={path}")
    return settings


def numerics() -> dict[str, str]:
    """Say what decides in which order sums are added: library, instruction set, processor."""
    cpuinfo = Path("/proc/cpuinfo")
    first = cpuinfo.read_text().partition("\n\n")[0].splitlines() if cpuinfo.is_file() else []
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first)}
    known = [facts[key] for key in ("vendor_id", "cpu family", "model", "model name") if key in facts]
    return {
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": " ".join(known) or platform.processor() or platform.machine(),
    }


@pytest.mark.parametrize(
    ("name", "settings"), [("paper", PAPER), ("modern", MODERN), ("grouped-query", GROUPED)]
)
def test_losses_are_the_recorded_ones(tmp_path: Path, name: str, settings: tuple[str, ...]) -> None:
    files = parallel_text(tmp_path) if name == "grouped-query" else []
    _, recorder = train_run(tmp_path, *settings, *files, f"training.max_steps={STEPS}", "training.epochs=9")
    losses = [report.loss for report in recorder.steps]
    norms = [report.gradient_norm for report in recorder.steps]
    assert len(losses) == STEPS
    file = GOLDEN / f"{name}.json"
    if os.environ.get("STEPWISE_UPDATE_GOLDEN") == "1":
        record = {"numerics": numerics(), "losses": losses, "gradient_norms": norms}
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        pytest.skip(f"recorded {file}")
    golden = json.loads(file.read_text(encoding="utf-8"))
    if golden["numerics"] == numerics():
        assert losses == golden["losses"]
        assert norms == golden["gradient_norms"]
    else:
        # Another processor or library adds the same numbers in another order. Each sum then differs in its last
        # digits (1e-7), and training carries that on; after twelve steps 1e-4 is room enough for it, and far too
        # little for a changed computation: each of these curves falls by a thousand times as much.
        assert losses == pytest.approx(golden["losses"], rel=1e-4)
        assert norms == pytest.approx(golden["gradient_norms"], rel=1e-3)
