"""Files of a run for W&B: offline they are kept as they were logged, because `wandb sync` may come much later."""

import shutil
from pathlib import Path

from stepwise_track.backends.protocol import RunContext
from stepwise_track.events import FileRef
from stepwise_track.files import whole_or_nothing


class FileFinder:
    """Finds files of a run by content.

    Args:
        run: the run.
        keep: copy every file to `wandb/files/<SHA-256>` of the run folder, and find it there from then on: an
            offline folder refers to it, and the next checkpoint may take the place of the original.
    """

    def __init__(self, run: RunContext, *, keep: bool) -> None:
        self._run = run
        self._folder = run.run_dir / "wandb" / "files" if keep else None

    def __call__(self, file: FileRef) -> Path | None:
        """Return where a file is; None if it is gone or no longer what was logged."""
        kept = self._folder / (file.sha256 + Path(file.path).suffix) if self._folder else None
        if kept and kept.exists():
            return kept
        source = self._run.find(file)
        if source and kept:
            self._run.progress()
            with whole_or_nothing(kept) as part:
                shutil.copyfile(source, part)
            return kept
        return source
