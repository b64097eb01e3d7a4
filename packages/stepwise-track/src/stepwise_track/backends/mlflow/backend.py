"""The backend: finds or makes the run, sends batches, ends the run."""

import getpass
from collections.abc import Sequence
from itertools import islice
from typing import ClassVar

from mlflow.entities import Metric, Run, ViewType
from mlflow.exceptions import MlflowException

from stepwise_track.backends.mlflow import names
from stepwise_track.backends.mlflow.batch import Batch, RunSoFar
from stepwise_track.backends.mlflow.store import Store, translated
from stepwise_track.backends.protocol import Backend, Delivery, RunContext
from stepwise_track.backends.render import merge
from stepwise_track.backends.replay import earlier_records
from stepwise_track.events import Parameters

JOURNAL_TAG = "stepwise.journal"
"""Tag of a run with the id of its journal."""

STATUSES = {"completed": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}

REPLAY_RECORDS = 500
"""Records of one batch when a tracker gets the earlier part of a run."""


class MLflowBackend(Backend):
    """Sends a run to MLflow.

    The place comes from MLflow's own variables (`MLFLOW_TRACKING_URI`, `MLFLOW_REGISTRY_URI`,
    `MLFLOW_TRACKING_USERNAME`, …); without one, all runs of a folder share `mlflow.db` there. The state holds
    `store`, `run_id`, `seq` (last record sent), `console` (how much of which file) and `model` (version and tables).
    """

    name = "mlflow"
    fidelity: ClassVar[dict[str, str]] = {
        "scalars": "infinities as ±1.8e308 in databases; points over epochs or seconds lie at the whole number; "
        "without a place at step 0; names of other characters than letters, digits and `_-./: ` are altered; "
        "equal values of one series, step and millisecond are one; extra information as JSON files; the epoch beside "
        "a step is the metric `epoch_at_step`",
        "single_values": "as metrics at step 0",
        "parameters": "cut at 6,000 characters; a changed one keeps its first value, the last is in a tag; "
        "`parameters.json` has all",
        "table": "as JSON files, as `load_table` reads them; NaN and infinities as words",
        "text": "as files",
        "picture": "other formats than PNG as files",
        "histogram": "as JSON files",
        "artifact": "a file that was changed before its turn came is left out",
        "checkpoint": "every one is a version of the model `<project>.<run>`; the alias `latest` is MLflow's own",
        "console": "as files `console/0001.log`, …",
        "configuration": "as files",
        "run_resumed": "not marked: points of all attempts are in the curves, each with its time",
    }

    def open(self, run: RunContext) -> None:
        """Connect, and find the run by what we know of it, else by its tag; make it if there is none.

        Raises:
            Unreachable: the server does not answer.
            Rejected: it refuses us.
        """
        self._run = run
        self._store = Store(run.run_dir.parent)
        self._experiment = self._store.experiment(names.cut(run.started.project_name, 500))
        found = self._find()
        with translated():
            remote = found or self._create()
            if remote.info.status != "RUNNING":
                self._store.client.update_run(remote.info.run_id, status="RUNNING")
        if run.state.get("run_id") != remote.info.run_id:  # it has nothing of what was delivered elsewhere
            run.state.clear()
        run.state |= {"store": self._store.key, "run_id": remote.info.run_id}
        run.save()
        self._so_far = RunSoFar(
            run_id=remote.info.run_id,
            artifact_uri=remote.info.artifact_uri,
            parameters=dict(remote.data.params),
            tables=remote.data.tags.get("mlflow.loggedArtifacts", "[]"),
            keys={key: key for key in remote.data.metrics},
            is_folder=self._store.is_folder,
        )
        self._has_tree = False
        self._batch: Batch | None = None
        self._ended_at = 0

    def _find(self) -> Run | None:
        """Return the run in the tracker; None if there is none, or only a deleted one."""
        client, state = self._store.client, self._run.state
        with translated():
            if state.get("store") == self._store.key and "run_id" in state:
                try:
                    known = client.get_run(state["run_id"])
                    if known.info.lifecycle_stage == "active":
                        return known
                except MlflowException as error:
                    if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                        raise
            query = f"tags.`{JOURNAL_TAG}` = '{self._run.journal_id}'"
            found = client.search_runs([self._experiment], query, ViewType.ACTIVE_ONLY, max_results=1)
            return found[0] if found else None

    def _create(self) -> Run:
        started = self._run.started
        tags = {
            JOURNAL_TAG: self._run.journal_id,
            "mlflow.user": getpass.getuser(),
            "mlflow.source.name": self._run.run_dir.name,
            "mlflow.source.type": "LOCAL",
            "model_type": started.model_type,
            "dataset": started.dataset,
        }
        tags |= {"mlflow.note.content": started.notes} if started.notes else {}
        tags |= {"entity": started.entity} if started.entity else {}
        tags |= {names.key(tag): "true" for tag in started.tags if tag and names.key(tag) not in tags}
        first = next(earlier_records(self._run, 1))
        return self._store.client.create_run(
            self._experiment,
            start_time=round(first.time * 1000),
            tags={key: names.cut(value, names.MAX_TAG) for key, value in tags.items()},
            run_name=started.experiment_name,
        )

    def deliver(self, records: Sequence[Delivery]) -> None:
        """Send a batch. A tracker that never saw the run gets what came before, too."""
        until = records[0].seq - 1
        if self._run.state.get("seq", 0) < until:
            counted = dict(self._run.degraded)
            self._catch_up(until)
            self._run.degraded.clear()  # what was degraded then has been counted then
            self._run.degraded.update(counted)
        self._send(records, self._run.uncertain_until)

    def _catch_up(self, until: int) -> None:
        """Send the earlier part of the run, and note how far it got."""
        first = self._run.state.get("seq", 0) + 1
        missing = (one for one in earlier_records(self._run, until) if one.seq >= first)
        uncertain_until = until
        while batch := list(islice(missing, REPLAY_RECORDS)):
            self._send(batch, uncertain_until)
            self._run.save()
            uncertain_until = 0  # a crash can have happened in the first one only

    def _send(self, records: Sequence[Delivery], uncertain_until: int) -> None:
        if not self._has_tree and any(isinstance(one.event, Parameters) for one in records):
            for earlier in earlier_records(self._run, records[0].seq - 1):
                if isinstance(earlier.event, Parameters):
                    merge(self._so_far.tree, earlier.event.values)
            self._has_tree = True
        with translated():
            batch = self._batch = Batch(self._run, self._store.client, self._so_far)
            for record in records:
                batch.add(record)
            certain = [metric for seq, metric in batch.metrics if seq > uncertain_until]
            uncertain = [metric for seq, metric in batch.metrics if seq <= uncertain_until]
            batch.send([*self._missing(uncertain), *certain])
            batch.keep_state()
        self._ended_at = batch.ended_at or self._ended_at

    def _missing(self, metrics: list[Metric]) -> list[Metric]:
        """Return those of some metrics that the tracker does not have yet."""
        have = set()
        for name in {metric.key for metric in metrics}:
            self._run.progress()
            for metric in self._store.client.get_metric_history(self._so_far.run_id, name):
                have.add(_identity(metric))
        return [metric for metric in metrics if _identity(metric) not in have]

    def flush(self) -> None:
        """Do nothing: every call returned when MLflow had it."""

    def finish(self, status: str) -> None:
        """Mark the run as over, at the time at which it ended."""
        with translated():
            self._store.client.set_terminated(self._so_far.run_id, STATUSES[status], self._ended_at or None)

    def close(self) -> None:
        """Do nothing: connections end with the process."""


def _identity(metric: Metric) -> tuple[str, int, int, str]:
    """Return what tells metrics apart; NaN equals itself here, and infinity what databases make of it."""
    number = max(min(float(metric.value), 1.7976931348623157e308), -1.7976931348623157e308)
    return (
        metric.key,
        metric.step,
        metric.timestamp,
        repr(number if metric.value == metric.value else metric.value),
    )
