"""`python -m stepwise_track.relay RUN_DIR`: the relay of a run; with `--worker BACKEND`, one of its workers."""

import argparse
import os
import signal
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

from filelock import Timeout
from loguru import logger as log

from stepwise_track import limits
from stepwise_track.process import this_process
from stepwise_track.relay.cursor import FOLDER, write_json
from stepwise_track.relay.supervisor import GAVE_UP_FOR_NOW, load_wanted, relay_lock, supervise
from stepwise_track.relay.worker import Worker


def main() -> int:
    """Run the relay or a worker; return the exit code."""
    parser = argparse.ArgumentParser(prog="stepwise_track.relay", description=__doc__)
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--worker", metavar="BACKEND")
    parser.add_argument("--once", action="store_true")
    arguments = parser.parse_args()
    run_dir = arguments.run_dir.resolve()
    if arguments.worker:
        return run_worker(run_dir, arguments.worker, once=arguments.once)
    return run_relay(run_dir)


def run_relay(run_dir: Path) -> int:
    """Be the relay of a run, as soon as no other is."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    os.nice(limits.NICENESS)
    lock = relay_lock(run_dir)
    while True:
        try:
            lock.acquire()
            break
        except Timeout:  # the one of an earlier attempt, or a sync: be there when it ends
            if stop.wait(limits.POLL_S):
                return GAVE_UP_FOR_NOW
    try:
        write_json(run_dir / FOLDER / "relay.json", asdict(this_process()))
        return supervise(run_dir, list(load_wanted(run_dir)), stop)
    finally:
        lock.release()


def run_worker(run_dir: Path, backend: str, *, once: bool) -> int:
    """Be the worker of one backend; see `worker.py` for what standard input and output mean."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log.remove()
    log.add(
        sys.stderr, format="{time} {level} {message}", diagnose=False
    )  # values of variables may be secrets
    control, channel = os.dup(0), os.dup(1)
    os.dup2(
        os.open(os.devnull, os.O_RDONLY), 0
    )  # an SDK that asks for a password gets no answer, but no block
    os.dup2(2, 1)  # what an SDK prints belongs into the log
    stop = threading.Event()
    threading.Thread(target=_end_with_relay, args=(control, stop), daemon=True).start()

    def report(seconds: float) -> None:
        try:
            os.write(channel, b"%f\n" % seconds)
        except OSError:  # the relay is gone
            stop.set()

    options = load_wanted(run_dir).get(backend, {})
    code = Worker(run_dir, backend, options, once=once, stop=stop, report=report).run()
    sys.stdout.flush()
    return code


def _end_with_relay(control: int, stop: threading.Event) -> None:
    """Wait for the end of standard input; then the worker has a moment to finish its batch."""
    while os.read(control, 100):
        pass
    stop.set()
    time.sleep(limits.WORKER_EXIT_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
