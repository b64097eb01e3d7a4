"""Promotes tasks from one ClearML server to another, through the official API alone.

client.py   calls of a server, its files up and down
ledger.py   what was moved already, so that nothing is moved twice
models.py   models, with their files
tasks.py    one task: document, artifacts, events, status
events.py   scalars, plots, images, console
plan.py     which tasks, in which order; progress and the report      <- start here
"""

from stepwise_server.export.client import Remote
from stepwise_server.export.plan import Report, export_tasks

__all__ = ["Remote", "Report", "export_tasks"]
