"""Checkpoints and models as versions of registered models."""

from collections.abc import Mapping
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from stepwise_track.backends.mlflow import names
from stepwise_track.backends.protocol import Delivery, RunContext
from stepwise_track.backends.render import as_word, flatten

RECORD_TAG = "stepwise.record"
"""Tag of a version with the id of the record that made it."""


class ModelRegistry:
    """Registers models of one run.

    Args:
        run: the run.
        client: of MLflow.
        run_id: id of the run in MLflow.
        artifact_uri: where its files are.

    Attributes:
        state: name and number of the last version, and the tables that describe the model.
    """

    def __init__(self, run: RunContext, client: MlflowClient, run_id: str, artifact_uri: str) -> None:
        self._client, self._run_id, self._artifact_uri = client, run_id, artifact_uri
        self._run = run
        self.state: dict[str, Any] = {"tables": {}} | run.state.get("model", {})

    def register(
        self, one: Delivery, name: str, path: str, facts: Mapping[str, Any], *, is_best: bool
    ) -> None:
        """Make a version of a registered model from files of the run, unless this record made one already."""
        started = self._run.started
        tags = {RECORD_TAG: one.id, "run": started.experiment_name, "model_type": started.model_type}
        tags |= {f"table.{table}": place for table, place in self.state["tables"].items()}
        for key, item in flatten(as_word(facts)).items():
            if item is not None and key not in tags:
                tags[key] = names.value(item)
        tags = {names.key(key): names.cut(value, names.MAX_TAG) for key, value in tags.items()}
        number = self._known(name, one) or self._create(name, path, tags)
        if is_best:
            self._client.set_registered_model_alias(name, "best", number)
        self.state = self.state | {"name": name, "version": number}

    def describe(self, table: str, path: str) -> None:
        """Note where a table about the model is, on its last version and on those to come."""
        self.state = self.state | {"tables": self.state["tables"] | {table: path}}
        if "version" in self.state:
            name, number = self.state["name"], self.state["version"]
            self._client.set_model_version_tag(name, number, names.key(f"table.{table}"), path)

    def _known(self, name: str, one: Delivery) -> str | None:
        """Return the number of the version that a record made before a crash."""
        for version in self._client.search_model_versions(f"run_id = '{self._run_id}'"):
            if version.name == name and version.tags.get(RECORD_TAG) == one.id:
                return str(version.version)
        return None

    def _create(self, name: str, path: str, tags: dict[str, str]) -> str:
        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        version = self._client.create_model_version(
            name, f"{self._artifact_uri}/{path}", self._run_id, tags=tags, await_creation_for=0
        )
        return str(version.version)
