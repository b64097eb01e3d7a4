"""Weights & Biases: the run as a W&B run, by the real SDK, online or as an offline folder for `wandb sync`.

Every event that has a place becomes one row of the history, and the row's W&B step is the number of the event in
the journal. W&B's steps only grow, so a row that is there cannot come twice, and W&B itself says how far it came.
The axes that people look at (`step`, `epoch`, `seconds`) are columns, and every curve is drawn over its own.

A session of the SDK begins with the first batch of a worker and reads the journal from its start:

* online it resumes the run, whose id is the id of the journal; rows that W&B has are skipped, config and summary
  are sent again, which changes nothing. `flush` asks W&B for the last row before it believes that it arrived.
* offline it writes a new folder and then removes the one of an earlier worker: a killed SDK leaves a file that ends
  anywhere, the journal does not. One folder is left, with every event once. Its files are kept beside it. When
  the folder of a finished run was sent by `wandb sync` and the run goes on, the next folder has what is new.
"""

import os

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # before the import: it starts the reporting

from stepwise_track.backends.wandb.backend import WandbBackend

__all__ = ["WandbBackend"]
