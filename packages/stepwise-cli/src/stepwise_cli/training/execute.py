"""Train a run folder from where it stands to its end: lock, journal, display, signals, final pages."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from loguru import logger as log

from stepwise_cli.console import console, error_console
from stepwise_cli.remote.agent import ENTRY_POINT, FINISH_WAIT_S, agents_task, stopping_when_told
from stepwise_cli.remote.datasets import fetch_data
from stepwise_cli.trackers import tracker_links
from stepwise_cli.training.conclude import conclude
from stepwise_cli.training.journal import JournalListener
from stepwise_cli.training.progress import ProgressDisplay
from stepwise_core.config import Config
from stepwise_core.data.dataset import SPLITS
from stepwise_core.runs import RunFolder
from stepwise_core.training.interrupts import catch_stop_signals
from stepwise_core.training.loop import Trainer
from stepwise_core.training.session import Session
from stepwise_track import ExperimentLogger, limits


def execute(
    folder: RunFolder,
    config: Config,
    prepare: Callable[[], Session],
    *,
    trackers: Sequence[str] = (),
    evaluate: bool = True,
) -> None:
    """Train until the plan is done, then score and draw.

    Args:
        folder: the run.
        config: its configuration.
        prepare: makes the session, new or resumed; called once the run is locked.
        trackers: names of those that the run is sent to.
        evaluate: score the test split and draw pictures at the end.

    Raises:
        StepwiseError: if training cannot go on; what was written so far stays.
    """
    with folder.locked(), _log_file(folder.path / "run.log"):
        with error_console().status("preparing data"):
            fetch_data(config.data)
            session = prepare()
        for remark in [*session.dataset.remarks, *_left_out(session)]:
            log.warning(remark)
        with _open_logger(folder, config, session, trackers) as logger:
            with catch_stop_signals() as stop, stopping_when_told(), ProgressDisplay() as display:
                Trainer(session, [display, JournalListener(logger, config.logging, folder.path)], stop).run()
            if evaluate:
                conclude(folder, session.dataset, logger)
        for name, link in tracker_links(folder.path).items():
            console().print(f"{name}: {link}", markup=False, soft_wrap=True)


def _left_out(session: Session) -> Iterator[str]:
    """Say how many pairs were too long for the model; only `data.parallel.skip_long` lets them pass."""
    for name, split in (("train", session.train), ("valid", session.valid)):
        if split.n_skipped:
            limit = session.config.model.max_length
            yield f"{name}: pairs longer than {limit} tokens, left out: {split.n_skipped}"


def _open_logger(
    folder: RunFolder, config: Config, session: Session, trackers: Sequence[str]
) -> ExperimentLogger:
    settings = config.logging
    begun = (folder.path / "journal").is_dir()
    logger = ExperimentLogger(
        settings.project_name,
        folder.name,
        config.model_dump(mode="json"),
        settings.tags,
        settings.notes,
        settings.entity,
        run_dir=folder.path,
        model_type=config.model.type,
        dataset=session.dataset.name,
        resume_step=session.state.step if begun else None,
        log_code=settings.log_code,
        entry_point=ENTRY_POINT,
        backends=trackers,
        finish_wait_s=FINISH_WAIT_S if agents_task() else limits.FINISH_WAIT_S,
    )
    sizes: dict[str, int] = {split: len(session.dataset.split(split)) for split in SPLITS}
    logger.log_dataset(session.dataset.name, session.dataset.version, info=sizes)
    return logger


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    """Write what happens to run.log; only warnings also reach the terminal, which belongs to the display."""
    log.remove()
    sinks = [
        log.add(path, format="{time:YYYY-MM-DDTHH:mm:ss.SSSZ} {level} {message}"),
        log.add(sys.stderr, level="WARNING", format="{level}: {message}"),
    ]
    try:
        yield
    finally:
        for sink in sinks:
            log.remove(sink)
