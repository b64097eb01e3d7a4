"""MLflow: the run as an MLflow run, in a database, a folder of files or a tracking server.

A metric of MLflow is known by key, step, time and value, and a record always gives the same ones: databases refuse
to hold it twice. Where they do not (a folder of files, or whatever is behind a server), what may have arrived
already is read back before a batch comes again. Files have names that follow from the record, so a repeat
overwrites the same file. The run carries the id of the journal as a tag, and is found by it after a crash.
"""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # before the import: it starts the telemetry
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")  # the relay tries again, at its own pace
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")

from stepwise_track.backends.mlflow.backend import MLflowBackend

__all__ = ["MLflowBackend"]
