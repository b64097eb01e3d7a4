"""The description of the environment: right about git, quiet where there is none, and light."""

import json
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import pytest

from stepwise_track import limits
from stepwise_track.environment import collect_environment, describe_git, write_environment


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=tester", "-c", "user.email=tester@example.org"]
    command = ["git", "-C", str(folder), *who, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--initial-branch", "trunk")
    (tmp_path / "train.py").write_text("rate = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--message", "first")
    return tmp_path


def test_a_clean_repository(repository: Path) -> None:
    found = describe_git(repository)
    assert found == {
        "commit": git(repository, "rev-parse", "HEAD"),
        "remote": "",
        "branch": "trunk",
        "dirty": False,
        "status": [],
        "diff": "",
        "diff_cut": False,
    }


def test_changes_are_kept_up_to_a_limit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (repository / "train.py").write_bytes(b"rate = 2 # \xff\n")
    (repository / "new.py").write_text("")
    found = describe_git(repository)
    assert found and found["dirty"] and not found["diff_cut"]
    assert "+rate = 2 # \ufffd" in found["diff"] and "-rate = 1" in found["diff"]
    assert found["status"] == [" M train.py", "?? new.py"]
    monkeypatch.setattr(limits, "DIFF_BYTES", 20)
    found = describe_git(repository)
    assert found and len(found["diff"]) == 20 and found["diff_cut"]


def test_no_secret_gets_into_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [f"kX9pL2mN8vQ4rT7wZ{number}" for number in range(6)]
    git(repository, "remote", "add", "origin", f"https://user:{secrets[0]}@example.org/repo.git")
    (repository / "train.py").write_text(f'api_key = "{secrets[1]}"\nprint("{secrets[2]}")\nrate = 3\n')
    monkeypatch.chdir(repository)
    monkeypatch.setenv("WANDB_API_KEY", secrets[2])
    monkeypatch.setattr(
        sys, "argv", ["train.py", "--api-key", secrets[3], f"--hf-token={secrets[4]}", "--lr", "1"]
    )
    write_environment(repository / "environment.json", True)
    text = (repository / "environment.json").read_text()
    assert not [secret for secret in secrets if secret in text]
    found = json.loads(text)
    assert found["git"]["remote"] == "https://***@example.org/repo.git"
    assert "+rate = 3" in found["git"]["diff"] and '+api_key = "***"' in found["git"]["diff"]
    assert found["command"]["arguments"] == ["train.py", "--api-key", "***", "--hf-token=***", "--lr", "1"]


def test_no_repository_and_no_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert describe_git(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_git(tmp_path) is None


def test_the_machine_and_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    found = collect_environment(with_code=False)
    assert found["git"] is None
    assert found["python"]["version"].startswith("3.")
    assert found["cpu"]["threads"] >= 1 and found["memory_bytes"] > 2**20
    for name in ("psutil", "loguru", "stepwise-track", "nvidia-ml-py"):
        assert found["packages"][name] == version(name)
    json.dumps(found)


@pytest.mark.parametrize("first", ["", "import torch; "])
def test_torch_is_asked_only_if_it_is_there(first: str) -> None:
    if first:
        pytest.importorskip("torch")
    program = (
        f"{first}import sys; from stepwise_track.environment import collect_environment;"
        "gpu = collect_environment(with_code=False)['gpu'] or {};"
        "print('torch' in gpu and 'devices' in gpu, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == [str(bool(first))] * 2


def test_the_package_is_light_to_import() -> None:
    heavy = ("torch", "matplotlib", "numpy", "PIL", "safetensors")
    program = f"import sys, stepwise_track; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_an_installed_module_is_told_from_code_around(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    own = Path(sysconfig.get_path("purelib"), "pytest").is_dir()
    entry_point = (
        f"-m {'pytest' if own else 'stepwise_track.relay'} --quiet"  # one of them is installed here itself
    )
    found = collect_environment(entry_point=entry_point)["command"]
    assert (found["entry_point"], found["installed"]) == (entry_point, True)
    assert collect_environment(entry_point="-m train")["command"]["installed"] is False
    assert collect_environment(entry_point="train.py")["command"]["installed"] is False
