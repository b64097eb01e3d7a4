"""Records what the program prints, without standing between it and its terminal.

The `write` of `sys.stdout` and `sys.stderr` is wrapped on the stream objects themselves. So the streams stay what
they are (terminal or not, encoding, buffers), and libraries that took hold of one earlier (loguru, logging, rich) are
recorded too. No pipe is involved: there is nothing that could fill up and stop the program, and nothing is lost to
the terminal when the process is killed. The price: what child processes and C libraries write to the file
descriptors directly is shown, but not recorded.
"""

import atexit
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import groupby
from typing import Any, Literal

from loguru import logger as log

from stepwise_track import limits
from stepwise_track.capture.screen import Screen
from stepwise_track.events import Console, Event

StreamName = Literal["stdout", "stderr"]
STREAMS: tuple[StreamName, ...] = ("stdout", "stderr")


class ConsoleCapture:
    """Turns what is printed into console events, in batches, from a thread of its own.

    Args:
        append: takes the events.
    """

    def __init__(self, append: Callable[[Event], None]) -> None:
        self._append = append
        self._pid = os.getpid()
        self._chunks: deque[tuple[StreamName, str]] = deque()
        self._size = self._dropped = 0
        # Reentrant: a signal handler may print while the same thread is just keeping a line.
        self._mutex, self._flushing = threading.RLock(), threading.RLock()
        self._screens = {name: Screen() for name in STREAMS}
        self._closing = threading.Event()
        self._taps = [_Tap(name, self.keep) for name in STREAMS]
        self._thread = threading.Thread(target=self._flush_regularly, name="console", daemon=True)

    def start(self) -> None:
        """Begin to record."""
        for tap in self._taps:
            tap.attach()
        atexit.register(self.flush)
        self._thread.start()

    def stop(self) -> None:
        """Record what is left, and give the streams back as they were. A second call does nothing."""
        if self._closing.is_set() or os.getpid() != self._pid:
            return
        self._closing.set()
        for tap in self._taps:
            tap.detach()
        self._thread.join()
        self.flush(final=True)
        atexit.unregister(self.flush)

    def keep(self, stream: StreamName, text: str) -> None:
        """Keep a text until the next flush; of a flood the latest part. Never raises, never waits for a disk."""
        if os.getpid() != self._pid:
            return  # a fork: its parent's journal is not its own
        with self._mutex:
            self._chunks.append((stream, text))
            self._size += len(text)
            while self._chunks and (excess := self._size - limits.CONSOLE_PENDING_CHARS) > 0:
                stream, oldest = self._chunks.popleft()
                rest = oldest[excess:]
                self._dropped += oldest.count("\n", 0, excess)
                self._size -= len(oldest) - len(rest)
                if rest:
                    self._chunks.appendleft((stream, rest))

    def flush(self, *, final: bool = False) -> None:
        """Append the lines that are complete; `final`: also those that are not."""
        if os.getpid() != self._pid:
            return
        with self._flushing:
            with self._mutex:
                chunks, self._chunks, self._size = self._chunks, deque(), 0
                dropped, self._dropped = self._dropped, 0
            now, lines = time.monotonic(), list[tuple[StreamName, str]]()
            for stream, group in groupby(chunks, key=lambda chunk: chunk[0]):
                self._screens[stream].write("".join(text for _, text in group))
                lines += [(stream, line) for line in self._screens[stream].take(now)]
            for stream, screen in self._screens.items():
                lines += [(stream, line) for line in screen.take(now, final=final)]
            if (excess := len(lines) - limits.CONSOLE_LINES) > 0:
                dropped, lines = dropped + excess, lines[excess:]
            for stream, group in groupby(lines, key=lambda line: line[0]):
                self._append(Console(stream, "\n".join(line for _, line in group), dropped))
                dropped = 0
            self._dropped += dropped

    def _flush_regularly(self) -> None:
        while not self._closing.wait(limits.CONSOLE_INTERVAL_S):
            try:
                self.flush()
            except Exception as error:  # whatever it is: recording must not end because of one odd line
                log.debug("cannot record the console: {}", error)


class _Tap:
    """Wraps the `write` and the `flush` of one stream object.

    The terminal comes first. Where it cannot show a character, it shows its code; where it has gone (a closed
    `ssh`, `| head`), the training goes on without it.
    """

    def __init__(self, name: StreamName, keep: Callable[[StreamName, str], None]) -> None:
        self._name: StreamName = name
        self._keep = keep
        self._attached = False

    def attach(self) -> None:
        """Begin; a stream that cannot be wrapped, or is absent, is left alone."""
        self._stream: Any = getattr(sys, self._name)
        try:
            self._before = {key: vars(self._stream).get(key) for key in ("write", "flush")}
            self._write, self._flush = self._stream.write, self._stream.flush
            self._hooks = {"write": self.write, "flush": self.flush}
            for key, hook in self._hooks.items():
                setattr(self._stream, key, hook)
            self._attached = True
        except (AttributeError, TypeError):
            log.debug("{} cannot be recorded: {}", self._name, type(self._stream).__name__)

    def detach(self) -> None:
        """End; what others have wrapped around us stays, and we are a passage from then on."""
        if not self._attached:
            return
        self._attached = False
        for key, hook in self._hooks.items():
            if vars(self._stream).get(key) == hook:
                if self._before[key] is None:
                    delattr(self._stream, key)
                else:
                    setattr(self._stream, key, self._before[key])

    def write(self, text: str, /) -> int:
        """Write, and keep what was written."""
        if not self._attached:
            return int(self._write(text))
        try:
            written = self._write(text)
        except UnicodeEncodeError:
            encoding = getattr(self._stream, "encoding", None) or "ascii"
            written = self._write(text.encode(encoding, "backslashreplace").decode(encoding))
        except BrokenPipeError:
            written = len(text)
        self._keep(self._name, text)
        return written  # type: ignore[no-any-return]

    def flush(self) -> None:
        """Flush; a terminal that has gone is no error."""
        try:
            self._flush()
        except BrokenPipeError:
            if not self._attached:
                raise
