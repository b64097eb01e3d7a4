"""Scores: by hand, with their signatures, of a real model on a split, and kept in a file."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from stepwise_core.config import Config, EvaluationConfig, ModelConfig, TokenizerConfig
from stepwise_core.data.dataset import Dataset, Example
from stepwise_core.data.tokenizers import BOS, EOS, TokenizerPair, train_tokenizer
from stepwise_core.decoding.translate import translate
from stepwise_core.errors import DataError
from stepwise_core.evaluation import Evaluation, describe_decoding, evaluate, score_outputs
from stepwise_core.models import build_model, count_parameters
from stepwise_core.runs import RunFolder
from stepwise_core.trained import LoadedRun
from stepwise_core.training.state import TrainingState

LETTERS = train_tokenizer(TokenizerConfig(type="character"), ["abcdefgh "])
WORDS = train_tokenizer(TokenizerConfig(type="word"), ["a dog runs far away the cat"])
CHARACTERS = TokenizerPair(LETTERS, LETTERS)


@pytest.mark.parametrize(
    ("outputs", "references", "exact", "accuracy", "recall"),
    [
        (["abc"], ["abc"], 1.0, 1.0, 1.0),
        (["abd"], ["abc"], 0.0, 2 / 3, 2 / 3),
        (["cab"], ["abc"], 0.0, 0.0, 1.0),  # all tokens there, none in its place
        (["ab"], ["abcd"], 0.0, 2 / 4, 2 / 4),  # missing tokens are wrong ones
        (["abcd"], ["ab"], 0.0, 2 / 4, 1.0),  # and so are surplus ones
        (["aab"], ["abb"], 0.0, 2 / 3, 2 / 3),  # each token is found as often as it is there
        (["aac"], ["aab"], 0.0, 2 / 3, 2 / 3),
        ([""], ["ab"], 0.0, 0.0, 0.0),
        (["abc", "ab"], ["abd", "ab"], 1 / 2, 4 / 5, 4 / 5),  # over all tokens, not the mean over sentences
    ],
)
def test_scores_by_hand(
    outputs: list[str], references: list[str], exact: float, accuracy: float, recall: float
) -> None:
    scores, _ = score_outputs(outputs, references, CHARACTERS)
    assert scores["exact_match"] == pytest.approx(exact)
    assert scores["token_accuracy"] == pytest.approx(accuracy)
    assert scores["token_recall"] == pytest.approx(recall)


def test_bleu_by_hand() -> None:
    """The geometric mean of the precisions of 1- to 4-grams, times the brevity penalty (Papineni et al., 2002)."""
    scores, signatures = score_outputs(["abcdef"], ["abcdefgh"], CHARACTERS)
    assert scores["bleu"] == pytest.approx(100 * math.exp(1 - 8 / 6))  # every n-gram right, but too short
    scores, _ = score_outputs(["abcdeh"], ["abcdef"], CHARACTERS)
    precisions = 5 / 6 * 4 / 5 * 3 / 4 * 2 / 3
    assert scores["bleu"] == pytest.approx(100 * precisions**0.25)
    assert "tok:char" in signatures["bleu"]


def test_references_with_spaces_are_counted_in_words() -> None:
    pair = TokenizerPair(WORDS, WORDS)
    scores, signatures = score_outputs(["a dog runs far"], ["a dog runs far away"], pair)
    assert scores["bleu"] == pytest.approx(100 * math.exp(1 - 5 / 4))
    assert "tok:13a" in signatures["bleu"]
    assert scores["token_accuracy"] == pytest.approx(4 / 5)


def test_signatures_name_what_a_comparison_needs() -> None:
    scores, signatures = score_outputs(["abcd"], ["abcd"], CHARACTERS)
    assert set(signatures) == {"bleu", "chrf"}
    assert all("version:" in signature and "nrefs:1" in signature for signature in signatures.values())
    assert scores["bleu"] == pytest.approx(100)
    assert scores["chrf"] == pytest.approx(100)


def test_unequal_numbers_of_outputs_and_references_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        score_outputs(["a"], ["a", "b"], CHARACTERS)


EXAMPLES = [Example("abc", "cb"), Example("h", "gfed"), Example("defga", "a"), Example("bb", "bbb")]
DATASET = Dataset("letters", EXAMPLES, EXAMPLES[:1], EXAMPLES)


def loaded_run(folder: Path) -> LoadedRun:
    torch.manual_seed(0)
    model_config = ModelConfig(d_model=16, n_heads=2, n_layers=1, max_length=12)
    model = build_model(model_config, LETTERS.vocab_size, LETTERS.vocab_size).double()
    config = Config(model=model_config, evaluation=EvaluationConfig(batch_size=3))
    run = RunFolder(folder / "some-run")
    return LoadedRun(run, config, model, CHARACTERS, TrainingState(), run.checkpoints / "best")


@torch.no_grad()
def test_a_model_is_scored_on_a_split(tmp_path: Path) -> None:
    """Loss and perplexity as computed here one by one; outputs are those of translate."""
    run = loaded_run(tmp_path)
    done: list[int] = []
    found = evaluate(run, DATASET, "test", on_progress=done.append)
    run.model.eval()
    loss, n_tokens = 0.0, 0
    for example in EXAMPLES:
        target = [*LETTERS.encode(example.target), EOS]
        logits = run.model(
            torch.tensor([[*LETTERS.encode(example.source), EOS]]), torch.tensor([[BOS, *target[:-1]]])
        )
        loss += float(nn.functional.cross_entropy(logits[0], torch.tensor(target), reduction="sum"))
        n_tokens += len(target)
    assert found.scores["loss"] == pytest.approx(loss / n_tokens, rel=1e-6)
    assert found.scores["perplexity"] == pytest.approx(math.exp(loss / n_tokens), rel=1e-6)

    translated = translate(
        run.model, CHARACTERS, [example.source for example in EXAMPLES], EvaluationConfig()
    )
    assert [example.output for example in found.examples] == [each.output for each in translated]
    assert [(each.source, each.reference) for each in found.examples] == [
        (example.source, example.target) for example in EXAMPLES
    ]
    assert sum(each.exact for each in found.examples) / 4 == found.scores["exact_match"]
    assert (found.run, found.checkpoint, found.split) == ("some-run", "best", "test")
    assert found.data_version == DATASET.version
    assert found.scores["num_examples"] == found.scores["dataset_num_eval"] == 4
    assert found.scores["model_size_bytes"] == 8 * count_parameters(run.model)
    assert sum(done) == 4


def test_a_model_without_opinion_has_the_perplexity_of_its_vocabulary(tmp_path: Path) -> None:
    run = loaded_run(tmp_path)
    nn.init.zeros_(run.model.output_projection.weight)
    scores = evaluate(run, DATASET).scores
    assert scores["perplexity"] == pytest.approx(LETTERS.vocab_size)


def test_part_of_a_split_and_another_search(tmp_path: Path) -> None:
    run = loaded_run(tmp_path)
    found = evaluate(run, DATASET, "test", EvaluationConfig(beam_size=3), max_examples=2)
    assert (found.scores["num_examples"], found.scores["dataset_num_eval"]) == (2, 4)
    assert [example.source for example in found.examples] == ["abc", "h"]
    assert found.decoding == "beam 3, length penalty 0.6"
    assert describe_decoding(EvaluationConfig()) == "greedy"
    with pytest.raises(DataError, match="no split 'dev'"):
        evaluate(run, DATASET, "dev")


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    found = evaluate(loaded_run(tmp_path), DATASET)
    found.save(tmp_path / "evaluation.json")
    assert Evaluation.load(tmp_path / "evaluation.json") == found
