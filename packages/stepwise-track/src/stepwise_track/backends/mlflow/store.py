"""Where MLflow keeps runs, and what its errors mean for us."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import requests
from filelock import FileLock
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from stepwise_track.backends.protocol import Rejected, Unreachable

LATER = (
    "INTERNAL_ERROR",
    "TEMPORARILY_UNAVAILABLE",
    "REQUEST_LIMIT_EXCEEDED",
    "DEADLINE_EXCEEDED",
    "IO_ERROR",
)
REFUSED = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "FEATURE_DISABLED")
HTTP_REFUSED = re.compile(r"error code 40[13]\b|\b401\b|\b403\b")
OLD_SCHEMA = re.compile(r"out-of-date database schema|Can't locate revision", re.IGNORECASE)


class Store:
    """A connection to the place where `MLFLOW_TRACKING_URI` points.

    Without it, all runs of a folder share a database there: `mlflow.db`, with their files in `mlruns/` beside it.

    Args:
        runs_dir: the folder of the run folders.

    Attributes:
        client: of MLflow.
        key: tells stores apart without naming them: their URIs may hold passwords.
        is_folder: whether it is a folder of files.
        artifacts: where new experiments keep files; None leaves it to the server.
    """

    def __init__(self, runs_dir: Path) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{runs_dir / 'mlflow.db'}"
        self.is_folder = not re.match(r"(?!file:)[a-z][a-z0-9+.-]*://|databricks|uc", uri)
        self.artifacts: str | None = None
        self.key = sha256(uri.encode()).hexdigest()[:16]
        if uri.startswith("sqlite:///"):
            database = Path(uri.removeprefix("sqlite:///").partition("?")[0]).absolute()
            database.parent.mkdir(parents=True, exist_ok=True)
            self.artifacts = (database.parent / "mlruns").as_uri()
            # Else MLflow makes a folder `mlruns` wherever the relay happens to be.
            os.environ.setdefault("_MLFLOW_SERVER_ARTIFACT_ROOT", self.artifacts)
            with FileLock(f"{database}.lock"):  # two runs that begin at once would both make the tables
                self.client = self._connect(uri)
        else:
            if not re.match(
                r"[a-z][a-z0-9+.-]*://|databricks", uri
            ):  # a folder: named by the user, so wanted
                os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            if uri.startswith("file:"):
                os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            self.client = self._connect(uri)

    def _connect(self, uri: str) -> MlflowClient:
        with translated():
            client = MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)
            client.search_experiments(max_results=1)  # the first question opens the connection
            return client

    def experiment(self, name: str) -> str:
        """Return the id of an experiment; it is made if there is none.

        Raises:
            Rejected: if it was deleted.
        """
        with translated():
            found = self.client.get_experiment_by_name(name)
            if found is None:
                try:
                    place = self.artifacts and f"{self.artifacts}/{sha256(name.encode()).hexdigest()[:16]}"
                    return str(self.client.create_experiment(name, artifact_location=place))
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    found = self.client.get_experiment_by_name(name)  # another run was quicker
        if found is None or found.lifecycle_stage == "deleted":
            number = found.experiment_id if found else "NUMBER"
            raise Rejected(
                f"MLflow's experiment {name!r} is deleted; next: "
                f"mlflow experiments restore --experiment-id {number}"
            )
        return str(found.experiment_id)


@contextmanager
def translated() -> Iterator[None]:
    """Raise what MLflow raises as `Unreachable` or `Rejected`, in one line; what is our own fault stays."""
    try:
        yield
    except MlflowException as error:
        text = " ".join(str(error).split())[:300]
        if OLD_SCHEMA.search(text):
            raise Rejected(
                f"MLflow's database is of another version: {text}; next: mlflow db upgrade URI"
            ) from None
        if "MLFLOW_ALLOW_FILE_STORE" in str(error):
            raise Rejected("MLflow refuses a folder of files; next: MLFLOW_ALLOW_FILE_STORE=true") from None
        if error.error_code in REFUSED or (error.error_code in LATER and HTTP_REFUSED.search(text)):
            raise Rejected(
                f"MLflow refuses us: {text}; next: set MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN"
            ) from None
        if error.error_code in LATER:
            raise Unreachable(f"MLflow does not answer: {text}") from None
        raise
    except requests.RequestException as error:
        status = getattr(error.response, "status_code", None)
        kind = Rejected if status in (401, 403) else Unreachable
        raise kind(f"MLflow does not answer: {' '.join(str(error).split())[:300]}") from None
