"""The relay: a process that follows the journal of a run and feeds its trackers, each at its own pace.

keeper.py       in the training process: starts the relay, waits a bounded time at the end
  supervisor.py   the relay: one worker process per backend, watched and started again
    worker.py       one backend through one run, batch after batch
      tail.py         follows the journal
      cursor.py       how far this backend has come: the one file that is written
    log.py          what they say
status.py, sync.py  for the command line: how it goes, and deliver it now
"""

from stepwise_track.relay.cursor import Cursor
from stepwise_track.relay.keeper import RelayKeeper
from stepwise_track.relay.status import BackendStatus, status
from stepwise_track.relay.sync import sync

__all__ = ["BackendStatus", "Cursor", "RelayKeeper", "status", "sync"]
