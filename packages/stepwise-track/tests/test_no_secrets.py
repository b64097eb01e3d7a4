"""A run that is told secrets in every way keeps none: not in its journal, not in any file of its folder."""

import os
import subprocess
import sys
from pathlib import Path

SECRETS = [f"Zq{number}vW8xK2mP5tR7yN4cJ" for number in range(14)]

PROGRAM = """
import os, sys, time
from loguru import logger as log
from stepwise_track import ExperimentLogger
S, run_dir = os.environ["PLANTED"].split(","), sys.argv[1]
del os.environ["PLANTED"]
with ExperimentLogger(
    "p", "name", {"tracker": {"api_key": S[0], "url": f"https://me:{S[1]}@host/"}}, [f"token={S[2]}"],
    notes=f"try the password: '{S[3]}'", run_dir=run_dir,
) as logger:
    print(f"wandb login --api-key {S[4]}")
    print("the environment has", os.environ["SOME_SERVICE_TOKEN"])
    log.info(f"Authorization: Bearer {S[5]}")
    logger.log_text("note", f"API_KEY={S[6]}")
    logger.log_text_generation(f"secret_key: {S[7]}", "x")
    logger.log_table("table", [{"password": 1, "words": f"machine h login me password {S[8]}"}])
    logger.log_artifact("settings", {"secret": S[9]}, {"access_token": S[9]})
    logger.log_config_object("yaml", f"db_password: {S[10]}")
    logger.log_custom_metric("a/b", 1, step=1, note=f"client_secret={S[11]}", api_key=S[11])
    logger.log_hyperparameters({"list": [f"--token {S[12]}"]})
    raise RuntimeError(f"cannot open postgres://u:{S[13]}@db/x with " + os.environ["SOME_SERVICE_TOKEN"])
"""


def test_no_file_of_a_run_holds_a_secret(tmp_path: Path) -> None:
    in_environment = "plainwordsinthiscase"
    environment = {**os.environ, "PLANTED": ",".join(SECRETS), "SOME_SERVICE_TOKEN": in_environment}
    arguments = [sys.executable, "-c", PROGRAM, str(tmp_path), "--hf-token", SECRETS[0]]
    result = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
    assert "RuntimeError: cannot open" in result.stderr and SECRETS[4] in result.stdout
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"000001.jsonl", "environment.json", "settings.json"} <= {path.name for path in files}
    for path in files:
        text = path.read_text(encoding="utf-8")
        found = [secret for secret in [*SECRETS, in_environment] if secret in text]
        assert not found, (
            f"{path.name} holds secrets {[SECRETS.index(one) for one in found if one in SECRETS]}"
        )
    journal = next(path for path in files if path.name == "000001.jsonl").read_text()
    assert journal.count("***") >= 16 and "the environment has ***" in journal
