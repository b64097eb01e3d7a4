"""Sets console capture and machine figures going for a session, and ends them with it."""

from collections.abc import Callable

from stepwise_track import limits
from stepwise_track.capture.console import ConsoleCapture
from stepwise_track.capture.machine import MachineMonitor, MachineSampler
from stepwise_track.capture.ranks import (
    OtherRanks,
    RankFile,
    RankSession,
    is_first_of_machine,
    rank_of_process,
)
from stepwise_track.events import Scalars
from stepwise_track.session import RunSession


def start_console(session: RunSession) -> ConsoleCapture:
    """Record what is printed until the session finishes."""
    console = ConsoleCapture(session.record)
    console.start()
    session.before_finish.append(console.stop)
    return console


def start_machine(session: RunSession | RankSession, system_metrics: bool | float) -> None:
    """Measure the machine until the session finishes.

    Args:
        session: the run's, or that of another rank.
        system_metrics: seconds between two samples; True takes `limits.SYSTEM_METRICS_S`.
    """
    interval_s = limits.SYSTEM_METRICS_S if system_metrics is True else float(system_metrics)
    if isinstance(session, RankSession):
        monitor = MachineMonitor(
            lambda: MachineSampler(session.run_dir.parent, whole_machine=is_first_of_machine()).sample,
            RankFile(session.run_dir, rank_of_process()).write,
            interval_s,
        )
    else:
        monitor = MachineMonitor(lambda: _all_ranks(session), _to_journal(session), interval_s)
    monitor.start()
    session.before_finish.append(monitor.stop)


def _all_ranks(session: RunSession) -> Callable[[], dict[str, float]]:
    """Measure this machine, and add what the other ranks have measured of theirs."""
    own, others = MachineSampler(session.run_dir), OtherRanks(session.run_dir)
    return lambda: own.sample() | others.read()


def _to_journal(session: RunSession) -> Callable[[dict[str, float]], None]:
    def emit(values: dict[str, float]) -> None:
        named = {f"machine/{name}": value for name, value in values.items()}
        session.record(Scalars(named, step=None, axis="seconds", seconds=round(session.seconds, 3)))

    return emit
