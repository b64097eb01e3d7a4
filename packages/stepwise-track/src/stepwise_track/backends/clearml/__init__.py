"""ClearML: sends a run to a ClearML server, or keeps it as an official offline session.

connection.py   calls through the SDK's session; what its failures mean
task.py         the task of the run: found or created, described, ended
mapping.py      from events to what ClearML calls scalars, plots, debug samples, console
files.py        uploads: artifacts, pictures, models
backend.py      the backend: order, repeats, restarts        <- start here
offline.py      the same as a zip for `Task.import_offline_session`
datasets.py     folders as datasets; not the relay's work
"""

from stepwise_track.backends.clearml.backend import ClearMLBackend

__all__ = ["ClearMLBackend"]
