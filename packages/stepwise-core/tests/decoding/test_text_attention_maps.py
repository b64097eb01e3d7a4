"""Attention of one text: maps with a label for every row and column, of the translation found or given."""

from typing import Any

import pytest
import torch

from stepwise_core.config import EvaluationConfig, ModelConfig, TokenizerConfig
from stepwise_core.data.tokenizers import BOS, EOS, TokenizerPair, train_tokenizer
from stepwise_core.decoding.attention import attend_text
from stepwise_core.decoding.translate import translate
from stepwise_core.errors import DataError
from stepwise_core.models import Transformer, build_model
from stepwise_core.models.attention_maps import capture_attention

CHARACTERS = train_tokenizer(TokenizerConfig(type="character"), ["abcdefgh"])
TOKENIZERS = TokenizerPair(CHARACTERS, CHARACTERS)
V, MAX_LENGTH = CHARACTERS.vocab_size, 10


def make_model(seed: int = 0, **options: Any) -> Transformer:
    torch.manual_seed(seed)
    values = {"d_model": 16, "n_heads": 4, "n_encoder_layers": 3, "n_decoder_layers": 2, "dropout": 0.3}
    values |= {"max_length": MAX_LENGTH, "tie_weights": "none", **options}
    return build_model(ModelConfig.model_validate(values), V, V)


def test_a_given_translation_is_looked_at() -> None:
    found = attend_text(make_model(), TOKENIZERS, "abc", "hg")
    assert (found.source, found.target) == ("abc", "hg")
    assert found.source_tokens == ["a", "b", "c", "<eos>"]
    assert found.target_tokens == ["<bos>", "h", "g"]
    assert found.encoder.shape == (3, 4, 4, 4)
    assert found.decoder.shape == (2, 4, 3, 3)
    assert found.cross.shape == (2, 4, 3, 4)


def test_the_maps_are_those_of_the_whole_pass_without_dropout() -> None:
    model = make_model().train()
    found = attend_text(model, TOKENIZERS, "abc", "hg")
    assert all(module.training for module in model.modules())
    ids = CHARACTERS.encode("abc"), CHARACTERS.encode("hg")
    with capture_attention(model.eval()) as captured:
        model(torch.tensor([[*ids[0], EOS]]), torch.tensor([[BOS, *ids[1]]]))
    for kind in ("encoder", "decoder", "cross"):
        torch.testing.assert_close(getattr(found, kind), captured.stacked(kind))


@pytest.mark.parametrize("seed", range(12))
def test_the_translation_the_model_writes_is_looked_at(seed: int) -> None:
    """Also where it does not end by itself: its last token is written, but never read."""
    model = make_model(seed)
    (written,) = translate(model, TOKENIZERS, ["abc"], EvaluationConfig())
    tokens = written.hypotheses[0].tokens
    found = attend_text(model, TOKENIZERS, "abc")
    assert found.target == written.output
    assert found.target_tokens == ["<bos>", *CHARACTERS.tokens(tokens)][:MAX_LENGTH]
    assert found.cross.shape == (2, 4, len(found.target_tokens), 4)


def test_some_of_those_models_never_end() -> None:
    lengths = {
        len(translate(make_model(seed), TOKENIZERS, ["abc"], EvaluationConfig())[0].hypotheses[0].tokens)
        for seed in range(12)
    }
    assert MAX_LENGTH in lengths
    assert min(lengths) < MAX_LENGTH


def test_chosen_layers_and_heads() -> None:
    model = make_model()
    everything = attend_text(model, TOKENIZERS, "abc", "hg")
    chosen = attend_text(model, TOKENIZERS, "abc", "hg", layers=[1], heads=[2, 0])
    for kind in ("encoder", "decoder", "cross"):
        torch.testing.assert_close(getattr(chosen, kind), getattr(everything, kind)[1:2, [2, 0]])


def test_texts_that_do_not_fit_are_refused() -> None:
    model = make_model()
    attend_text(model, TOKENIZERS, "a" * 9, "b" * 9)
    with pytest.raises(DataError, match="has 11 tokens"):
        attend_text(model, TOKENIZERS, "a" * 10, "b")
    with pytest.raises(DataError, match="the target has 11 tokens"):
        attend_text(model, TOKENIZERS, "a", "b" * 10)
    with pytest.raises(DataError, match="empty"):
        attend_text(model, TOKENIZERS, "", "b")
