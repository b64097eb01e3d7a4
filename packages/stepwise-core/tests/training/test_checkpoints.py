"""One checkpoint: what is in it, what comes back, and that nothing damaged or foreign is accepted."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny import StopAt, tiny_config, tiny_session, train, train_run

from stepwise_core.errors import CheckpointError, DataError
from stepwise_core.files import sha256_of
from stepwise_core.models import count_parameters
from stepwise_core.runs import RunFolder
from stepwise_core.trained import load_run
from stepwise_core.training.checkpoints import (
    load_weights,
    model_tensors,
    optimizer_tensors,
    read_checkpoint,
    read_state,
    write_checkpoint,
)
from stepwise_core.training.session import resume_session
from stepwise_core.training.state import TrainingState

FILES = ("model.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return train_run(tmp_path_factory.mktemp("runs"))[0]


@pytest.fixture
def run(trained: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the trained run, to be damaged."""
    return RunFolder(Path(shutil.copytree(trained.path, tmp_path / "run", symlinks=True)))


def refusal(run: RunFolder, checkpoint: str = "latest") -> CheckpointError:
    """Resuming and loading refuse the checkpoint with the same line, and touch nothing."""
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError) as loading:
        load_run(run.path, checkpoint)
    with pytest.raises(CheckpointError) as resuming:
        resume_session(run.config(), run, checkpoint)
    assert str(loading.value) == str(resuming.value)
    assert "\n" not in str(loading.value)
    assert loading.value.exit_code == 1
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    return loading.value


def seal(folder: Path) -> None:
    """Make the checksums of a checkpoint right again, as somebody would who alters it on purpose."""
    digests = {name: sha256_of(folder / name) for name in FILES[:3]}
    (folder / "manifest.json").write_text(json.dumps(digests))


def test_everything_comes_back(tmp_path: Path) -> None:
    session = tiny_session(tmp_path)
    train(session, StopAt(5))
    found = read_checkpoint(session.folder.checkpoints / "latest")
    for saved, own in (
        (found.weights, model_tensors(session.model)),
        (found.optimizer, optimizer_tensors(session.model, session.optimizer)),
    ):
        assert saved.keys() == own.keys()
        for name, tensor in own.items():
            assert torch.equal(saved[name], tensor), name
    names = dict(session.model.named_parameters())
    assert found.optimizer.keys() == {f"{n}/{k}" for n in names for k in ("step", "exp_avg", "exp_avg_sq")}
    assert {float(found.optimizer[f"{name}/step"]) for name in names} == {5.0}
    assert found.state == session.state
    assert (found.state.step, found.state.batch, found.state.seconds > 0) == (5, 5, True)
    assert found.identity == session.identity
    assert found.path == (session.folder.checkpoints / "step-00000005").resolve()


def test_floats_of_the_state_keep_every_bit() -> None:
    state = TrainingState(step=3, best_loss=0.1 + 0.2, epoch_loss_sum=1 / 3, seconds=1e-300)
    assert TrainingState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


def test_it_holds_safetensors_and_json_only(trained: RunFolder) -> None:
    folder = trained.checkpoints / "latest"
    assert {path.name for path in folder.iterdir()} == set(FILES)
    for name in FILES[:2]:
        with safe_open(folder / name, "pt") as tensors:
            assert len(list(tensors.keys())) > 10
    for name in FILES[2:]:
        json.loads((folder / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(("tying", "shared"), [("none", False), ("decoder", False), ("all", True)])
def test_tied_weights_are_stored_once(tmp_path: Path, tying: str, shared: bool) -> None:
    changes = [
        f"model.tie_weights={tying}",
        f"tokenizer.shared={str(shared).lower()}",
        "training.max_steps=2",
    ]
    folder, _ = train_run(tmp_path, *changes)
    loaded = load_run(folder.path)
    weights = read_checkpoint(loaded.checkpoint).weights
    assert sum(tensor.numel() for tensor in weights.values()) == count_parameters(loaded.model)
    matrices = [
        name for name, tensor in weights.items() if len(tensor) == loaded.tokenizers.target.vocab_size
    ]
    assert len(matrices) == {"none": 3, "decoder": 2, "all": 1}[tying]
    assert (loaded.model.output_projection.weight is loaded.model.target_embedding.tokens.weight) is (
        tying != "none"
    )


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 0.2, 0.5, 0.9])
def test_one_altered_byte_is_noticed(run: RunFolder, name: str, place: float) -> None:
    file = run.checkpoints / "latest" / name
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 0x01
    file.write_bytes(content)
    assert refusal(run).hint


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_noticed(run: RunFolder, name: str, kept: float) -> None:
    file = run.checkpoints / "latest" / name
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    error = refusal(run)
    assert "truncated or altered" in str(error) or name == "manifest.json"
    assert error.hint


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(run: RunFolder, name: str) -> None:
    (run.checkpoints / "latest" / name).unlink()
    assert str(refusal(run)).endswith(f"{name} is missing")


@pytest.mark.parametrize("content", ["[]", "null", '"text"', "{}", '{"model.safetensors": 3}'])
def test_a_manifest_that_is_none(run: RunFolder, content: str) -> None:
    (run.checkpoints / "latest" / "manifest.json").write_text(content)
    refusal(run)


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"format": 1}', '{"format": "1", "state": {}}'])
def test_a_state_that_is_none(run: RunFolder, content: str) -> None:
    """With the right checksum: only its meaning is wrong."""
    folder = run.checkpoints / "latest"
    (folder / "state.json").write_text(content)
    seal(folder)
    assert "unreadable" in str(refusal(run))
    assert read_state(folder) in (None, TrainingState())


def test_weights_that_are_no_safetensors(run: RunFolder) -> None:
    folder = run.checkpoints / "latest"
    (folder / "model.safetensors").write_bytes(b"\x80\x04cos\nsystem\n")  # the start of a pickle
    seal(folder)
    assert "unreadable" in str(refusal(run))


def test_a_newer_format_is_refused(run: RunFolder) -> None:
    folder = run.checkpoints / "latest"
    record = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**record, "format": 2}))
    seal(folder)
    error = refusal(run)
    assert "has format 2; this version reads up to 1" in str(error)
    assert error.hint == "install a newer stepwise"


def test_keys_that_a_newer_version_adds_to_the_state_are_ignored(run: RunFolder) -> None:
    folder = run.checkpoints / "latest"
    record = json.loads((folder / "state.json").read_text())
    record["state"]["moon"] = "full"
    (folder / "state.json").write_text(json.dumps(record))
    seal(folder)
    assert read_checkpoint(folder).state.step == 16


def test_a_checkpoint_that_is_not_there(run: RunFolder) -> None:
    with pytest.raises(CheckpointError, match="has no checkpoint step-00000099; there: best, latest, step-"):
        load_run(run.path, "step-00000099")
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        resume_session(run.config(), run, "step-00000099")


def test_a_link_to_nowhere_does_not_start_the_training_over(run: RunFolder) -> None:
    shutil.rmtree(run.checkpoints / "step-00000016")
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        resume_session(run.config(), run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.n_heads=4", "was trained with model.n_heads = 2, but the configuration says 4"),
        ("model.activation=geglu", "was trained with model.activation = swiglu"),
        ("model.d_model=32", "was trained with model.d_model = 16"),
    ],
)
def test_another_model_is_refused_also_where_the_shapes_fit(
    run: RunFolder, change: str, message: str
) -> None:
    run.config_file.write_text(tiny_config(change).to_json())
    assert message in str(refusal(run))


def test_another_vocabulary_is_refused(run: RunFolder, tmp_path: Path) -> None:
    other = tiny_session(tmp_path, "data.toy.n_symbols=9", name="other")
    shutil.copy(other.folder.tokenizer / "target.json", run.tokenizer / "target.json")
    error = refusal(run)
    assert "vocabulary mismatch: target tokenizer" in str(error)
    assert "tokenizer/" in (error.hint or "")


def test_other_data_are_refused_on_resume_but_not_for_using_the_model(run: RunFolder) -> None:
    run.config_file.write_text(tiny_config("data.seed=5").to_json())
    with pytest.raises(DataError, match=r"the data changed: version [0-9a-f]{16} at .*, now [0-9a-f]{16}"):
        resume_session(run.config(), run)
    assert load_run(run.path).state.step == 16


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    model = tiny_session(tmp_path).model
    weights = model_tensors(model)
    name = "encoder.layers.0.self_attention.query_projection.weight"
    for broken, message in (
        ({**weights, name: torch.zeros(3, 16)}, rf"{name} is \(3, 16\), the model has \(16, 16\)"),
        ({n: w for n, w in weights.items() if n != name}, f"{name} is nothing, the model has"),
        ({**weights, "moon": torch.zeros(2)}, r"moon is \(2,\), the model has nothing"),
    ):
        before = weights[name].clone()
        with pytest.raises(CheckpointError, match=message):
            load_weights(model, {n: torch.ones_like(w) for n, w in broken.items()}, tmp_path)
        assert torch.equal(model_tensors(model)[name], before), "half-loaded weights"


def test_writing_over_a_checkpoint_replaces_all_of_it(tmp_path: Path) -> None:
    identity = tiny_session(tmp_path).identity
    path = tmp_path / "checkpoints" / "step-00000001"
    for value in (1.0, 2.0):
        write_checkpoint(path, {"w": torch.full((3,), value)}, {}, TrainingState(step=1), identity)
    assert read_checkpoint(path).weights["w"].tolist() == [2.0] * 3
    assert [entry.name for entry in path.parent.iterdir()] == ["step-00000001"]
