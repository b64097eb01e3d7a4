"""From text to text: order, limits, refusals, and a model that comes back as it was."""

from typing import Any

import pytest
import torch

from stepwise_core.config import EvaluationConfig, ModelConfig, TokenizerConfig
from stepwise_core.data.tokenizers import TokenizerPair, train_tokenizer
from stepwise_core.decoding.translate import Translation, translate
from stepwise_core.errors import DataError
from stepwise_core.models import Transformer, build_model

CHARACTERS = train_tokenizer(TokenizerConfig(type="character"), ["abcdefgh"])
TOKENIZERS = TokenizerPair(CHARACTERS, CHARACTERS)
V = CHARACTERS.vocab_size
TEXTS = ["abc", "h", "gfedcba", "bb", "abcabc", "c", "defgh"]


def make_model(**options: Any) -> Transformer:
    torch.manual_seed(2)  # a model that writes something else for every text below
    values = {"d_model": 16, "n_heads": 2, "n_layers": 1, "max_length": 12, "dropout": 0.4}
    values |= {"tie_weights": "none", "positions": "rotary", "norm_position": "pre", **options}
    model = build_model(ModelConfig.model_validate(values), V, V).double()
    with torch.no_grad():
        model.output_projection.weight *= 3  # a model with opinions: its outputs have many lengths
    return model


def config(**values: Any) -> EvaluationConfig:
    return EvaluationConfig.model_validate(values)


@pytest.mark.parametrize("beam_size", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_every_text_gets_its_own_translation_in_order(beam_size: int, batch_size: int) -> None:
    """Whatever the batches: they are made of texts of like length, not in the order given."""
    model = make_model()
    found = translate(model, TOKENIZERS, TEXTS, config(beam_size=beam_size, batch_size=batch_size))
    assert [translation.source for translation in found] == TEXTS
    outputs = [translation.output for translation in found]
    alone = [translate(model, TOKENIZERS, [text], config(beam_size=beam_size))[0].output for text in TEXTS]
    assert outputs == alone
    assert len(set(outputs)) == len(TEXTS)


def test_outputs_are_the_hypotheses_as_text() -> None:
    (found,) = translate(make_model(), TOKENIZERS, ["abc"], config(beam_size=4), n_best=3)
    assert len(found.outputs) == len(found.hypotheses) == 3
    assert found.output == found.outputs[0]
    for text, hypothesis in zip(found.outputs, found.hypotheses, strict=True):
        assert text == CHARACTERS.decode(hypothesis.tokens)
    assert found.hypotheses[0].score >= found.hypotheses[1].score >= found.hypotheses[2].score


def test_the_cache_changes_nothing() -> None:
    for beam_size in (1, 3):
        cached, uncached = (
            translate(make_model(), TOKENIZERS, TEXTS, config(beam_size=beam_size), use_cache=use_cache)
            for use_cache in (True, False)
        )
        assert [found.outputs for found in cached] == [found.outputs for found in uncached]


def longest_output(model: Transformer, text: str, **values: Any) -> int:
    """Length of an output that never ends by itself."""
    with torch.no_grad():
        model.output_projection.weight[2] = 0.0  # <eos> scores 0; the best of the others more
        (found,) = translate(model, TOKENIZERS, [text], config(**values))
    return len(found.hypotheses[0].tokens)


@pytest.mark.parametrize(
    ("max_length", "values", "expected"),
    [
        (12, {}, 12),  # the model's limit
        (100, {}, 3 + 50),  # the source, its end mark included, and 50 (paper, section 6.1)
        (100, {"max_length": 7}, 7),
        (100, {"max_length": 70}, 70),
        (100, {"max_length": 7, "beam_size": 3}, 7),
    ],
)
def test_the_longest_output(max_length: int, values: dict[str, Any], expected: int) -> None:
    assert longest_output(make_model(max_length=max_length), "ab", **values) == expected


def test_the_longest_text_fits_and_a_longer_one_is_refused() -> None:
    model = make_model()
    assert len(translate(model, TOKENIZERS, ["a" * 11], config())) == 1  # and the end mark: 12
    with pytest.raises(DataError, match=r"text 2 has 13 tokens; .* at most 12"):
        translate(model, TOKENIZERS, ["a", "a" * 12], config())


def test_an_empty_text_is_refused_before_anything_is_translated() -> None:
    done: list[int] = []
    with pytest.raises(DataError, match="text 3 is empty"):
        translate(make_model(), TOKENIZERS, ["a", "b", ""], config(), on_progress=done.append)
    assert not done
    assert translate(make_model(), TOKENIZERS, [], config()) == []


def test_progress_counts_every_text_once() -> None:
    done: list[int] = []
    translate(make_model(), TOKENIZERS, TEXTS, config(batch_size=3), on_progress=done.append)
    assert done == [3, 3, 1]


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_off_and_the_mode_is_put_back(training: bool) -> None:
    model = make_model().train(training)
    first, second = (translate(model, TOKENIZERS, TEXTS, config()) for _ in range(2))
    assert first == second
    assert isinstance(first[0], Translation)
    assert all(module.training is training for module in model.modules())


def test_the_mode_is_put_back_after_a_failure() -> None:
    model = make_model().train()

    def fail(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        translate(model, TOKENIZERS, ["abc"], config(), on_progress=fail)
    assert all(module.training for module in model.modules())


def test_decoding_draws_no_random_numbers() -> None:
    """So translating samples while training changes nothing that follows."""
    model = make_model().train()
    before = torch.get_rng_state()
    for beam_size in (1, 3):
        translate(model, TOKENIZERS, TEXTS, config(beam_size=beam_size))
    assert torch.equal(torch.get_rng_state(), before)
