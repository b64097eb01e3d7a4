"""Signals as requests to stop: the first one is polite, and afterwards everything is as it was."""

import os
import signal
import threading

import pytest

from stepwise_core.training.interrupts import StopRequest, catch_stop_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_becomes_a_request(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    with catch_stop_signals() as stop:
        assert not stop.requested
        os.kill(os.getpid(), number)
        assert stop.requested
        assert stop.signal_name == number.name
    assert signal.getsignal(number) is before
    assert "stopping: saving a checkpoint" in capfd.readouterr().err


def test_handlers_are_put_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), catch_stop_signals():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


def test_a_request_is_of_one_training_only() -> None:
    with catch_stop_signals() as first:
        first.signal_name = "SIGINT"
    with catch_stop_signals() as second:
        assert not second.requested
    assert not StopRequest().requested


def test_other_threads_train_without_signals() -> None:
    found: list[StopRequest] = []

    def train() -> None:
        with catch_stop_signals() as stop:
            found.append(stop)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert [stop.requested for stop in found] == [False]
