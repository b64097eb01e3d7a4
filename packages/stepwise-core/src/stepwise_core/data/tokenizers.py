"""Tokenizers: text to ids and back, by characters, words, byte-pair encoding or a unigram model.

All four are models of the `tokenizers` library behind one small class, saved as the library's own JSON. All
but the characters see words: `▁` marks where a space was, so that decoding puts every space back.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers as hf
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from stepwise_core.config.schema import TokenizerConfig
from stepwise_core.data.dataset import Dataset
from stepwise_core.errors import DataError
from stepwise_core.files import write_atomic

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIAL_TOKENS = ["<pad>", "<bos>", "<eos>", "<unk>"]
SPACE_MARK = "▁"
CHUNK = 1_000  # texts encoded at once: enough to keep the library's threads busy, few enough to stay small
UNLIMITED = 2**31


class Tokenizer:
    """Turns text into token ids and back.

    The first four ids are `<pad>`, `<bos>`, `<eos>` and `<unk>`. No text encodes to one of the first three,
    not even text that spells their names.
    """

    def __init__(self, backend: hf.Tokenizer) -> None:
        backend.encode_special_tokens = True  # "<eos>" in a text is text; the library does not save this
        self._backend = backend
        self.vocab_size: int = backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without begin and end marks.

        Raises:
            DataError: if the text is no Unicode: a command line argument may hold any bytes.
        """
        try:
            ids: list[int] = self._backend.encode(text).ids
        except TypeError:
            raise DataError(f"not UTF-8: {text!r}", hint="convert it, e.g. with iconv") from None
        return ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts; quicker than one by one."""
        return [
            encoding.ids
            for start in range(0, len(texts), CHUNK)
            for encoding in self._backend.encode_batch_fast(texts[start : start + CHUNK])
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, special tokens left out."""
        text: str = self._backend.decode([id_ for id_ in ids if id_ > UNK])
        return text

    def tokens(self, ids: Sequence[int]) -> list[str]:
        """Return a label for each id, as pictures show it: special tokens by name, spaces as `▁`.

        Raises:
            DataError: if an id is outside the vocabulary.
        """
        labels = []
        for id_ in ids:
            token = self._backend.id_to_token(id_)
            if token is None:
                raise DataError(f"token id {id_} is outside the vocabulary of {self.vocab_size} tokens")
            labels.append(token.replace(" ", SPACE_MARK))
        return labels

    @property
    def fingerprint(self) -> str:
        """First 16 hex digits of a SHA-256 over the tokens in the order of their ids."""
        tokens = [self._backend.id_to_token(id_) for id_ in range(self.vocab_size)]
        return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write the tokenizer to a JSON file, whole or not at all."""
        write_atomic(path, self._backend.to_str(pretty=True))

    @classmethod
    def load(cls, path: Path) -> "Tokenizer":
        """Read a tokenizer from its JSON file.

        Raises:
            DataError: if the file is missing or holds no tokenizer of ours.
        """
        hint = "restore the file, or train again"
        if not path.is_file():
            raise DataError(f"{path}: no such tokenizer", hint=hint)
        try:
            backend = hf.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exceptions
            raise DataError(f"{path}: not a tokenizer ({error})", hint=hint) from None
        if [backend.id_to_token(id_) for id_ in range(len(SPECIAL_TOKENS))] != SPECIAL_TOKENS:
            raise DataError(f"{path}: the first ids are not {' '.join(SPECIAL_TOKENS)}", hint=hint)
        return cls(backend)


@dataclass(frozen=True)
class TokenizerPair:
    """The tokenizers of both sides; one and the same object where the vocabulary is shared."""

    source: Tokenizer
    target: Tokenizer

    @property
    def shared(self) -> bool:
        """Whether both sides use one vocabulary."""
        return self.source is self.target

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, or `source.json` and `target.json`, into an existing folder."""
        if self.shared:
            self.source.save(folder / "tokenizer.json")
        else:
            self.source.save(folder / "source.json")
            self.target.save(folder / "target.json")

    @classmethod
    def load(cls, folder: Path) -> "TokenizerPair":
        """Read what `save` wrote.

        Raises:
            DataError: if a file is missing or holds no tokenizer of ours.
        """
        if (folder / "source.json").is_file():
            return cls(Tokenizer.load(folder / "source.json"), Tokenizer.load(folder / "target.json"))
        both = Tokenizer.load(folder / "tokenizer.json")
        return cls(both, both)


def build_tokenizers(config: TokenizerConfig, dataset: Dataset) -> TokenizerPair:
    """Learn the vocabulary from the training split. The same texts always give the same vocabulary.

    Raises:
        DataError: if the vocabulary is to be smaller than the alphabet (bpe, unigram).
    """
    sources = [example.source for example in dataset.train]
    targets = [example.target for example in dataset.train]
    if config.shared:
        both = train_tokenizer(config, sources + targets)
        return TokenizerPair(both, both)
    return TokenizerPair(train_tokenizer(config, sources), train_tokenizer(config, targets))


def train_tokenizer(config: TokenizerConfig, texts: Sequence[str]) -> Tokenizer:
    """Learn one vocabulary. Texts are brought to Unicode NFC first, and to lower case if configured.

    Raises:
        DataError: if the vocabulary is to be smaller than the alphabet (bpe, unigram).
    """
    model, trainer = _model_and_trainer(config)
    backend = hf.Tokenizer(model)
    steps: list[normalizers.Normalizer] = [normalizers.Lowercase()] if config.lowercase else []
    steps.append(normalizers.NFC())
    if config.type == "character":
        backend.pre_tokenizer = pre_tokenizers.Split(hf.Regex(r"[\s\S]"), "isolated")
        backend.decoder = decoders.Fuse()
    else:
        # A mark in front of the first word too, so that a word is the same token wherever it stands.
        steps.append(normalizers.Prepend(SPACE_MARK))
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Metaspace(SPACE_MARK, prepend_scheme="never"),
                pre_tokenizers.Punctuation("isolated"),
            ]
        )
        backend.decoder = decoders.Metaspace(SPACE_MARK, prepend_scheme="always")
    backend.normalizer = normalizers.Sequence(steps)
    if config.type in ("bpe", "unigram"):
        _check_room(config, backend, texts)
    backend.train_from_iterator(texts, trainer, length=len(texts))
    if config.type == "unigram":
        backend.model = _settled(backend, config.vocab_size)
    return Tokenizer(backend)


def _model_and_trainer(config: TokenizerConfig) -> tuple[models.Model, trainers.Trainer]:
    """Return the empty model and its trainer."""
    unknown = SPECIAL_TOKENS[UNK]
    common: dict[str, Any] = {"special_tokens": SPECIAL_TOKENS, "show_progress": False}
    match config.type:
        case "character":
            return models.WordLevel(unk_token=unknown), trainers.WordLevelTrainer(
                vocab_size=UNLIMITED, **common
            )
        case "word":
            common |= {"vocab_size": config.vocab_size, "min_frequency": config.min_frequency}
            return models.WordLevel(unk_token=unknown), trainers.WordLevelTrainer(**common)
        case "bpe":  # Sennrich et al., 2016
            common |= {"vocab_size": config.vocab_size, "min_frequency": config.min_frequency}
            return models.BPE(unk_token=unknown), trainers.BpeTrainer(**common)
        case "unigram":  # Kudo, 2018
            common |= {"vocab_size": config.vocab_size, "unk_token": unknown}
            return models.Unigram(), trainers.UnigramTrainer(**common)


def _check_room(config: TokenizerConfig, backend: hf.Tokenizer, texts: Sequence[str]) -> None:
    """Refuse a vocabulary smaller than the alphabet: bpe would exceed its limit, unigram may never end."""
    alphabet = set().union(*(backend.normalizer.normalize_str(text) for text in texts))
    least = len(SPECIAL_TOKENS) + len({SPACE_MARK, *alphabet} - {" "})
    if config.vocab_size < least:
        raise DataError(
            f"tokenizer.vocab_size {config.vocab_size} is too small: the training texts have {least} different "
            f"characters, special tokens included",
            hint=f"--set tokenizer.vocab_size={least} at least, or --set tokenizer.type=character",
        )


def _settled(backend: hf.Tokenizer, vocab_size: int) -> models.Unigram:
    """Return a trained unigram model without what differs from one training to the next.

    The library adds up in the order of a randomly seeded hash map. The pieces come out the same, but scores
    differ in the last digits, and characters that are no piece by themselves get the lowest scores, 0.0001
    apart, in random order. So those characters share the lowest score, all scores are rounded, and the
    alphabet breaks ties. The library may also exceed vocab_size; then the least likely pieces go.
    """
    pieces: list[tuple[str, float]] = json.loads(backend.to_str())["model"]["vocab"][len(SPECIAL_TOKENS) :]
    lowest = min(score for _, score in pieces)
    leftover = lowest + 0.0001 * sum(len(piece) == 1 for piece, _ in pieces)
    settled = [
        (piece, round(lowest if len(piece) == 1 and score < leftover else score, 3))
        for piece, score in pieces
    ]
    settled.sort(
        key=lambda entry: (len(entry[0]) > 1, -entry[1], entry[0])
    )  # characters first: they all stay
    del settled[vocab_size - len(SPECIAL_TOKENS) :]
    return models.Unigram([(token, 0.0) for token in SPECIAL_TOKENS] + settled, unk_id=UNK)
