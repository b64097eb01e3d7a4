"""Planted secrets do not survive; what only looks a little like one does."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwise_track.events import Artifact, FileRef, Scalars, Table, Text
from stepwise_track.secrets import is_secret_name, redact, redact_arguments, redact_event, redact_tree

SECRET = "kX9-pL2_mN8vQ4rT7wZ1"


@pytest.mark.parametrize(
    "text",
    [
        f"WANDB_API_KEY={SECRET}",
        f"export CLEARML_API_SECRET_KEY='{SECRET}'",
        f"api_key: {SECRET}",
        f'{{"api_key": "{SECRET}", "lr": 1}}',
        f'db.password = "{SECRET}"',
        f"+    client = Client(secret_key='{SECRET}')",
        f"MY_DB_TOKEN: {SECRET}",
        f"python train.py --api-key {SECRET} --lr 1",
        f"python train.py --wandb-token={SECRET}",
        f"https://user:{SECRET}@example.org/repo.git",
        f"https://{SECRET}@example.org/repo.git",
        f"postgresql://app:{SECRET}@db:5432/mlflow",
        f"machine api.wandb.ai login user password {SECRET}",
        f"Authorization: Bearer {SECRET}",
        f"token={SECRET}",
        f"token: {SECRET}",
    ],
)
def test_secrets_in_texts(text: str) -> None:
    assert SECRET not in redact(text) and "***" in redact(text)
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "token",
    [
        "ghp_" + "a1B2" * 9,
        "github_pat_" + "a1B2" * 6,
        "hf_" + "aBcD" * 8,
        "sk-proj-" + "x1Y2" * 6,
        "AKIA" + "A1B2" * 4,
        "glpat-" + "x1y2" * 5,
        "xoxb-" + "123456789012-abc",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig_nature",
    ],
)
def test_known_shapes_need_no_name(token: str) -> None:
    assert redact(f"so I used {token}, and it worked") == "so I used ***, and it worked"


def test_a_private_key_is_hidden_whole() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----"
    assert redact(f"before\n{key}\nafter") == "before\n***\nafter"


def test_values_of_the_environment_are_hidden_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_VENDOR_TOKEN", SECRET)
    monkeypatch.setenv("SHORT_KEY", "abc")
    monkeypatch.setenv("SSH_KEY", "/home/me/.ssh/id")
    assert redact(f"it is x{SECRET}x; abc; /home/me/.ssh/id") == "it is x***x; abc; /home/me/.ssh/id"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "loss 0.25, 120 tokens per second, token_accuracy=0.987654",
        "commit 2b29a5e0c4e4c1d6a3a5bb0a6d0f1f9f3c1b2a3d",
        "max_tokens: 1000000, pad_token: <pad>, tokenizer: subword-bpe, n_tokens=12345678",
        "api_key = read_key(path)",
        "token=arguments.token, password = self.settings.password",
        "def login(password: str, token: Token) -> None:",
        "https://example.org:8080/a@b",
        "key=monkey-patch, turkey: delicious, keyboard=qwertz",
        "The secret of the sauce is time",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redact(text) == text


def test_names() -> None:
    for name in [
        "api_key",
        "apiKey",
        "WANDB_API_KEY",
        "password",
        "db_password",
        "secret",
        "hf_token",
        "token",
    ]:
        assert is_secret_name(name), name
    for name in [
        "tokenizer",
        "pad_token",
        "max_tokens",
        "key_dim",
        "n_keys",
        "d_key",
        "seed",
        "monkey",
        "bypass",
    ]:
        assert not is_secret_name(name), name


def test_trees() -> None:
    tree = {
        "model": {"d_key": 64, "eos_token": "</s>"},
        "tracker": {"api_key": SECRET, "url": f"https://u:{SECRET}@h/", "tokens": [1, 2]},
        "list": [f"--token={SECRET}", {"password": SECRET, "user": "me"}],
        "api_key": 5,
        "token": None,
        "secret": "",
        "credentials": {"user": "me", "pass": SECRET, "port": 1},
    }
    assert redact_tree(tree) == {
        "model": {"d_key": 64, "eos_token": "</s>"},
        "tracker": {"api_key": "***", "url": "https://***@h/", "tokens": [1, 2]},
        "list": ["--token=***", {"password": "***", "user": "me"}],
        "api_key": 5,
        "token": None,
        "secret": "",
        "credentials": {"user": "***", "pass": "***", "port": 1},
    }


def test_a_column_named_like_a_secret_is_one() -> None:
    table = Table("users", ("name", "password"), (("me", "correct horse"), ("you", None)))
    assert redact_event(table) == Table("users", ("name", "password"), (("me", "***"), ("you", None)))


def test_events_without_secrets_and_references_to_files_stay_the_same_objects() -> None:
    file = FileRef("artifacts/token=abcdefgh.json", "0" * 64, 1)
    for event in (Scalars({"a": 1.0}, 1), Artifact("x", (file,)), Text("note", "words")):
        assert redact_event(event) is event


def test_arguments() -> None:
    arguments = [
        "train.py",
        "--api-key",
        SECRET,
        f"--password={SECRET}",
        "--lr",
        "0.1",
        f"https://u:{SECRET}@h",
    ]
    hidden = ["train.py", "--api-key", "***", "--password=***", "--lr", "0.1", "https://***@h"]
    assert redact_arguments(arguments) == hidden
    assert redact_arguments(["--token", "--lr", "1"]) == ["--token", "--lr", "1"]


def test_long_texts_are_searched_to_their_end() -> None:
    text = "".join(f"line {number} password='{SECRET}' end\n" for number in range(2000))
    assert redact(text) == text.replace(SECRET, "***")


@given(st.text())
def test_any_text_can_be_redacted_and_twice_is_once(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


def test_long_texts_take_no_long_time() -> None:
    begun = time.perf_counter()
    for text in (
        "x" * 2**20,
        "key=" * 2**18,
        "a_" * 2**19,
        "https://" * 2**17,
        "--token " * 2**17,
        "token-" * 2**17,
    ):
        redact(text)
    assert time.perf_counter() - begun < 10
