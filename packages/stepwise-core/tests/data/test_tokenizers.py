"""Tokenizers: back and forth without loss, the same vocabulary every time, and nothing taken for a special token."""

import json
import os
import random
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwise_core.config.schema import TokenizerConfig
from stepwise_core.data.dataset import Dataset, Example
from stepwise_core.data.tokenizers import (
    EOS,
    SPECIAL_TOKENS,
    UNK,
    Tokenizer,
    TokenizerPair,
    build_tokenizers,
    train_tokenizer,
)
from stepwise_core.errors import DataError

TYPES = ["character", "word", "bpe", "unigram"]
SUBWORDS = ["bpe", "unigram"]
TEXTS = [
    "A dog runs across the snow , quickly .",
    "The dogs run ; two cats (both grey) don't !",
    "Ein Hund läuft schnell über den Schnee .",
    "Zwei Kätzchen schlafen , ein Vogel singt .",
    "一只狗 123 4567 890 <pad> [x] ▁ zwölf",
] * 3
ALPHABET = sorted(set("".join(TEXTS)) - {"▁"})


def made_texts() -> list[str]:
    """Return texts in which some letters are rare, as in a real language."""
    rng = random.Random(0)
    letters = "eeeeeeeenniiiissrraattdhulcgmobwfkzpvjyxqäöü"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(400)]
    rare = "ÄÖÜÉÈÊËÀÂÇÎÏÔÙÛ"
    return [" ".join(rng.choices(words, k=8)) for _ in range(600)] + [
        " ".join(rare[start : start + 3] for start in range(12))
    ] * 2


MADE_TEXTS = made_texts()
LEAST = len(SPECIAL_TOKENS) + len(set("".join(MADE_TEXTS)))
LIMITS = (LEAST, LEAST + 50, LEAST + 90, 10_000)


def train(type_: str, texts: list[str] = TEXTS, **values: Any) -> Tokenizer:
    values = {"vocab_size": 150, **values}
    return train_tokenizer(TokenizerConfig.model_validate({"type": type_, **values}), texts)


TRAINED = {type_: train(type_) for type_ in TYPES}


@pytest.mark.parametrize("type_", ["character", *SUBWORDS])
@settings(max_examples=150, deadline=None)
@given(text=st.text(st.sampled_from(ALPHABET), max_size=40))
def test_text_of_known_characters_survives(type_: str, text: str) -> None:
    tokenizer = TRAINED[type_]
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)
    assert all(UNK < id_ < tokenizer.vocab_size for id_ in ids)


@pytest.mark.parametrize("type_", TYPES)
@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=30))
def test_any_text_encodes_without_pad_begin_and_end(type_: str, text: str) -> None:
    tokenizer = TRAINED[type_]
    ids = tokenizer.encode(text)
    assert all(UNK <= id_ < tokenizer.vocab_size for id_ in ids)
    if UNK not in ids and "▁" not in text:
        assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("text", TEXTS[:4])
def test_training_texts_survive_whole(type_: str, text: str) -> None:
    assert TRAINED[type_].decode(TRAINED[type_].encode(text)) == text


@pytest.mark.parametrize("type_", TYPES)
def test_names_of_special_tokens_in_a_text_are_text(type_: str, tmp_path: Path) -> None:
    tokenizer = train(type_, ["a<eos> <pad><bos> <unk>"] * 9, vocab_size=60)
    tokenizer.save(tmp_path / "tokenizer.json")
    for each in (tokenizer, Tokenizer.load(tmp_path / "tokenizer.json")):
        ids = each.encode("a<eos> <pad><bos> <unk>")
        assert min(ids) > UNK
        assert each.decode(ids) == "a<eos> <pad><bos> <unk>"


@pytest.mark.parametrize("type_", TYPES)
def test_special_tokens_come_first_are_labelled_and_not_decoded(type_: str) -> None:
    tokenizer = TRAINED[type_]
    ids = tokenizer.encode("A dog runs")
    framed = [1, *ids, EOS, 0, 0]
    assert tokenizer.tokens([0, 1, 2, 3]) == SPECIAL_TOKENS
    assert tokenizer.decode(framed) == "A dog runs"
    labels = tokenizer.tokens(framed)
    assert labels[0] == "<bos>"
    assert labels[-3:] == ["<eos>", "<pad>", "<pad>"]
    assert "".join(labels[1:-3]).replace("▁", " ").strip() == "A dog runs"
    with pytest.raises(DataError, match="outside the vocabulary"):
        tokenizer.tokens([tokenizer.vocab_size])


def test_units_of_each_type() -> None:
    assert TRAINED["character"].tokens(TRAINED["character"].encode("A dog")) == ["A", "▁", "d", "o", "g"]
    assert TRAINED["word"].tokens(TRAINED["word"].encode("A dog runs.")) == ["▁A", "▁dog", "▁runs", "."]
    for type_ in SUBWORDS:
        n_tokens = len(TRAINED[type_].encode(TEXTS[0]))
        assert n_tokens < len(TRAINED["character"].encode(TEXTS[0]))


@pytest.mark.parametrize("type_", TYPES)
def test_unseen_becomes_unknown(type_: str) -> None:
    tokenizer = TRAINED[type_]
    ids = tokenizer.encode("A Ж")
    assert UNK in ids
    assert "Ж" not in tokenizer.decode(ids)


@pytest.mark.parametrize("type_", TYPES)
def test_many_texts_at_once_are_the_same_as_one_by_one(type_: str) -> None:
    texts = [*TEXTS, "", "x"] * 100  # more than are encoded in one go
    assert TRAINED[type_].encode_all(texts) == [TRAINED[type_].encode(text) for text in texts]


@pytest.mark.parametrize("type_", TYPES)
def test_decomposed_characters_are_composed_first(type_: str) -> None:
    composed = train(type_, ["schön über"] * 5, vocab_size=40)
    decomposed = train(type_, [unicodedata.normalize("NFD", "schön über")] * 5, vocab_size=40)
    assert composed.fingerprint == decomposed.fingerprint
    assert composed.encode("schön") == composed.encode(unicodedata.normalize("NFD", "schön"))


@pytest.mark.parametrize("type_", TYPES)
def test_lowercase(type_: str) -> None:
    tokenizer = train(type_, lowercase=True)
    assert tokenizer.encode("EIN HUND") == tokenizer.encode("ein Hund")
    assert tokenizer.decode(tokenizer.encode("EIN HUND")) == "ein hund"
    assert TRAINED[type_].encode("EIN HUND") != TRAINED[type_].encode("ein Hund")


@pytest.mark.parametrize("type_", ["word", "bpe", "unigram"])
def test_the_vocabulary_keeps_its_limit(type_: str) -> None:
    sizes = [train(type_, MADE_TEXTS, vocab_size=limit).vocab_size for limit in LIMITS]
    assert all(size <= limit for size, limit in zip(sizes, LIMITS, strict=True))
    assert sizes[0] < sizes[1] < sizes[2] < sizes[3]


def test_rare_words_are_left_out() -> None:
    tokenizer = train("word", ["often often often rare"], min_frequency=2)
    assert tokenizer.encode("rare often")[0] == UNK
    assert tokenizer.encode("rare often")[1] != UNK


def test_rare_pairs_are_not_merged() -> None:
    merged = train("bpe", ["ab ab ab cd"], min_frequency=1)
    kept = train("bpe", ["ab ab ab cd"], min_frequency=2)
    assert merged.tokens(merged.encode("cd")) == ["▁cd"]
    assert kept.tokens(kept.encode("cd")) == ["▁", "c", "d"]


@pytest.mark.parametrize("type_", SUBWORDS)
def test_a_vocabulary_smaller_than_the_alphabet_is_refused(type_: str) -> None:
    """The unigram trainer would never end, bpe would exceed its limit."""
    texts = ["hello world"] * 20  # 7 letters, the space mark, 4 special tokens
    assert train(type_, texts, vocab_size=12).vocab_size == 12
    with pytest.raises(DataError, match=r"vocab_size 11 is too small: .* 12 different") as caught:
        train(type_, texts, vocab_size=11)
    assert "vocab_size=12" in (caught.value.hint or "")


TRAIN_AND_PRINT = """
import json, sys
from stepwise_core.config.schema import TokenizerConfig
from stepwise_core.data.tokenizers import train_tokenizer
texts = json.load(sys.stdin)
for type_ in ("character", "word", "bpe", "unigram"):
    tokenizer = train_tokenizer(TokenizerConfig(type=type_, vocab_size=300), texts)
    print(type_, tokenizer.fingerprint, hash(str(tokenizer.encode_all(texts))))
"""


def test_training_again_in_another_process_gives_the_same_tokenizer() -> None:
    outputs = []
    for parallel in ("true", "false", "true"):
        variables = {**os.environ, "TOKENIZERS_PARALLELISM": parallel, "PYTHONHASHSEED": "0"}
        command = [sys.executable, "-c", TRAIN_AND_PRINT]
        texts = json.dumps(MADE_TEXTS)
        result = subprocess.run(
            command, env=variables, input=texts, capture_output=True, text=True, check=True
        )
        outputs.append(result.stdout)
    assert outputs[0].count("\n") == 4
    assert outputs[0] == outputs[1] == outputs[2]


def test_a_saved_unigram_tokenizer_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):  # the library draws a new hash seed for each training
        train("unigram", MADE_TEXTS).save(tmp_path / name)
    assert len({(tmp_path / name).read_bytes() for name in ("one", "two", "three")}) == 1


@pytest.mark.parametrize("type_", TYPES)
def test_saved_and_loaded_it_is_the_same(type_: str, tmp_path: Path) -> None:
    tokenizer = train(type_, lowercase=True)
    tokenizer.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path / "tokenizer.json")
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.vocab_size == tokenizer.vocab_size
    for text in [*TEXTS, "Neues <eos>  Wort"]:
        assert loaded.encode(text) == tokenizer.encode(text)
        assert loaded.decode(loaded.encode(text)) == tokenizer.decode(tokenizer.encode(text))


def test_fingerprints_tell_vocabularies_apart() -> None:
    prints = {tokenizer.fingerprint for tokenizer in TRAINED.values()}
    assert len(prints) == len(TYPES)
    assert train("word").fingerprint == TRAINED["word"].fingerprint
    assert train("word", [*TEXTS, "new"]).fingerprint != TRAINED["word"].fingerprint


def test_shared_and_separate_vocabularies(tmp_path: Path) -> None:
    pairs = [Example("the dog", "der Hund"), Example("the cat", "die Katze")]
    dataset = Dataset("pairs", pairs, [Example("unseen", "unsichtbar")], pairs)
    shared = build_tokenizers(TokenizerConfig(type="word", shared=True), dataset)
    separate = build_tokenizers(TokenizerConfig(type="word", shared=False), dataset)

    assert shared.shared
    assert shared.source is shared.target
    assert UNK not in shared.source.encode("the dog der Hund")
    assert not separate.shared
    assert separate.source.vocab_size < shared.source.vocab_size
    assert UNK not in separate.source.encode("the dog")
    assert separate.source.encode("Hund") == [UNK]
    assert separate.target.encode("dog") == [UNK]
    assert shared.source.encode("unseen") == [UNK]  # learnt from the training split alone

    for pair, names in ((shared, {"tokenizer.json"}), (separate, {"source.json", "target.json"})):
        folder = tmp_path / str(pair.shared)
        folder.mkdir()
        pair.save(folder)
        loaded = TokenizerPair.load(folder)
        assert {file.name for file in folder.iterdir()} == names
        assert loaded.shared == pair.shared
        assert loaded.source.fingerprint == pair.source.fingerprint
        assert loaded.target.fingerprint == pair.target.fingerprint


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such tokenizer"), ("{", "not a tokenizer"), ("", "not a tokenizer")],
)
def test_a_missing_or_damaged_file_is_named(content: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        TokenizerPair.load(tmp_path)
    assert str(path) in str(caught.value)


def test_a_tokenizer_with_other_special_tokens_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    TRAINED["word"].save(path)
    path.write_text(path.read_text().replace("<bos>", "<begin>"))
    with pytest.raises(DataError, match="the first ids are not <pad> <bos> <eos> <unk>"):
        Tokenizer.load(path)
