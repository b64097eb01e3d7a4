"""Scores of a trained model on a split: what it predicts given the truth, and what it writes by itself."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from stepwise_core.config import EvaluationConfig
from stepwise_core.data.tokenizers import TokenizerPair
from stepwise_core.files import write_atomic

if TYPE_CHECKING:
    from stepwise_core.data.dataset import Dataset, Example
    from stepwise_core.trained import LoadedRun


@dataclass(frozen=True)
class ScoredExample:
    """One test sentence, its reference, the model's output, and whether they are equal."""

    source: str
    reference: str
    output: str
    exact: bool


@dataclass(frozen=True)
class Evaluation:
    """Scores of one checkpoint on one split.

    Attributes:
        run: name of the run.
        checkpoint: name of the checkpoint.
        split: name of the split.
        data_version: content hash of the dataset.
        decoding: how outputs were searched, in words.
        scores: {name: value}; see `score_outputs` and `evaluate`.
        signatures: {score: sacrebleu signature}, without which a score cannot be compared.
        examples: every sentence of the split.
    """

    run: str
    checkpoint: str
    split: str
    data_version: str
    decoding: str
    scores: dict[str, float]
    signatures: dict[str, str]
    examples: tuple[ScoredExample, ...]

    def save(self, path: Path) -> None:
        """Write the evaluation as JSON."""
        write_atomic(path, json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Evaluation":
        """Read what `save` wrote."""
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        examples = tuple(ScoredExample(**example) for example in values.pop("examples"))
        return cls(**values, examples=examples)


def score_outputs(
    outputs: Sequence[str], references: Sequence[str], tokenizers: TokenizerPair
) -> tuple[dict[str, float], dict[str, str]]:
    """Compare outputs with references.

    * exact_match: part of outputs equal to their reference.
    * token_accuracy: part of positions with the right token; a missing or surplus token is a wrong one.
    * token_recall: part of the references' tokens found in the outputs, wherever they stand.
    * bleu, chrf: corpus scores by sacrebleu (Post, 2018), 0 to 100; BLEU counts words, or characters where no
      reference has a space.

    Args:
        outputs: what the model wrote.
        references: what it should have written.
        tokenizers: the target one says what a token is.

    Returns:
        Scores, and sacrebleu's signatures of bleu and chrf.
    """
    same, places, found, wanted = 0, 0, 0, 0
    encode = tokenizers.target.encode
    for output, reference in zip(outputs, references, strict=True):
        have, want = encode(output), encode(reference)
        same += sum(a == b for a, b in zip(have, want, strict=False))
        places += max(len(have), len(want))
        found += (Counter(have) & Counter(want)).total()
        wanted += len(want)
    bleu = BLEU(tokenize="13a" if any(" " in text for text in references) else "char")
    chrf = CHRF()
    scores = {
        "exact_match": sum(a == b for a, b in zip(outputs, references, strict=True)) / len(references),
        "token_accuracy": same / max(places, 1),
        "token_recall": found / max(wanted, 1),
        "bleu": float(bleu.corpus_score(list(outputs), [list(references)]).score),
        "chrf": float(chrf.corpus_score(list(outputs), [list(references)]).score),
    }
    return scores, {"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature())}


def evaluate(
    run: "LoadedRun",
    dataset: "Dataset",
    split: str = "test",
    config: EvaluationConfig | None = None,
    *,
    max_examples: int | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Translate a split and score the outputs.

    Besides the scores of `score_outputs`: loss (nats per target token, teacher forcing), perplexity, num_examples,
    dataset_num_eval (size of the whole split), duration_seconds, model_size_bytes.

    Args:
        run: the trained model.
        dataset: its data.
        split: train, valid or test.
        config: how to decode; None = as the run is configured.
        max_examples: score only the first so many.
        on_progress: called with the number of sentences just done.

    Raises:
        DataError: if there is no such split, or a sentence is too long for the model.
    """
    from stepwise_core.data.batches import encode_split
    from stepwise_core.decoding.translate import translate
    from stepwise_core.training.validation import measure_loss

    config = config or run.config.evaluation
    everything = dataset.split(split)
    examples = everything[:max_examples]
    started = time.perf_counter()
    origin = f"{dataset.name} ({split})"
    encoded = encode_split(examples, run.tokenizers, max_length=run.config.model.max_length, origin=origin)
    measured = measure_loss(run.model, encoded, config.batch_size, next(run.model.parameters()).device)
    sources = [example.source for example in examples]
    translations = translate(run.model, run.tokenizers, sources, config, on_progress=on_progress)
    outputs = [translation.output for translation in translations]
    scores, signatures = score_outputs(outputs, [example.target for example in examples], run.tokenizers)
    scores |= {
        "loss": measured.loss,
        "perplexity": measured.perplexity,
        "num_examples": len(examples),
        "dataset_num_eval": len(everything),
        "duration_seconds": time.perf_counter() - started,
        "model_size_bytes": sum(p.numel() * p.element_size() for p in run.model.parameters()),
    }
    return Evaluation(
        run=run.folder.name,
        checkpoint=run.checkpoint.name,
        split=split,
        data_version=dataset.version,
        decoding=describe_decoding(config),
        scores=scores,
        signatures=signatures,
        examples=tuple(_scored(example, output) for example, output in zip(examples, outputs, strict=True)),
    )


def _scored(example: "Example", output: str) -> ScoredExample:
    return ScoredExample(example.source, example.target, output, output == example.target)


def describe_decoding(config: EvaluationConfig) -> str:
    """Say in words how outputs are searched."""
    if config.beam_size == 1:
        return "greedy"
    return f"beam {config.beam_size}, length penalty {config.length_penalty}"
