"""The database file: one thread writes, any number of threads read.

Calls that write wait in a queue. The writer takes all that are there, runs each in a savepoint of one
transaction, commits, and only then answers them: many clients share one wait for the disk, and what was
answered survives the death of the process.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from loguru import logger as log

from stepwise_server import clock, limits
from stepwise_server.errors import ApiError
from stepwise_server.store import schema
from stepwise_server.store.functions import add_functions
from stepwise_server.store.sweeping import sweep

Result = TypeVar("Result")


class Transaction:
    """What a call sees of the database.

    Args:
        connection: to run statements on; rows are tuples.
        memory: see below.

    Attributes:
        now: the time of the call, the same for everything that it writes.
        memory: what writing calls keep from one to the next, such as ids; the writing thread's own. Because a
            call may be taken back, things go in by `after_commit`, and come out at once and by `after_commit`.
    """

    def __init__(self, connection: sqlite3.Connection, memory: dict[str, Any] | None = None) -> None:
        self._connection = connection
        self.memory: dict[str, Any] = {} if memory is None else memory
        self._after_commit: list[Callable[[], object]] = []
        self.now = clock.now()

    def execute(self, statement: str, values: Iterable[Any] = ()) -> sqlite3.Cursor:
        """Run one statement with `?` in place of its values."""
        return self._connection.execute(statement, tuple(values))

    def executemany(self, statement: str, rows: Iterable[Iterable[Any]]) -> sqlite3.Cursor:
        """Run one statement for many rows."""
        return self._connection.executemany(statement, rows)  # type: ignore[arg-type]

    def one(self, statement: str, values: Iterable[Any] = ()) -> tuple[Any, ...] | None:
        """Return the first row, or None."""
        row: tuple[Any, ...] | None = self.execute(statement, values).fetchone()
        return row

    def value(self, statement: str, values: Iterable[Any] = ()) -> Any:
        """Return the first column of the first row, or None."""
        row = self.one(statement, values)
        return row[0] if row else None

    def column(self, statement: str, values: Iterable[Any] = ()) -> list[Any]:
        """Return the first column of all rows."""
        return [row[0] for row in self.execute(statement, values)]

    def after_commit(self, action: Callable[[], object]) -> None:
        """Do something once the changes are safe, such as removing files; not done if they are taken back."""
        self._after_commit.append(action)

    def committed(self) -> None:
        """Run what waits for the commit; a failure there is logged, for the call has succeeded."""
        for action in self._after_commit:
            try:
                action()
            except Exception:
                log.exception("an action after the commit failed")


class Database:
    """The database of an installation.

    Args:
        path: the file; created if absent, brought to the current schema if older.

    Raises:
        ServerError: if it was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[tuple[Callable[[Transaction], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._memory: dict[str, Any] = {}
        self._connection = self._connect()
        schema.prepare(self._connection)
        self._closed = False
        self._writer = threading.Thread(target=self._write_all, name="database-writer", daemon=True)
        self._writer.start()

    def _connect(self, *, read_only: bool = False) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, timeout=limits.BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        # WAL: readers never wait for the writer. FULL: a commit is on the disk when it is answered.
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")
        add_functions(connection)
        return connection

    @property
    def waiting(self) -> int:
        """How many calls wait for the writer."""
        return self._queue.qsize()

    def submit(self, work: Callable[[Transaction], Result]) -> "Future[Result]":
        """Queue work for the writer; the future is done when its changes are on the disk."""
        future: Future[Result] = Future()
        self._queue.put((work, future))
        return future

    def write(self, work: Callable[[Transaction], Result]) -> Result:
        """Run work that writes, and wait until its changes are on the disk."""
        return self.submit(work).result()

    async def write_async(self, work: Callable[[Transaction], Result]) -> Result:
        """Run work that writes without occupying the event loop."""
        return await asyncio.wrap_future(self.submit(work))

    def read(self, work: Callable[[Transaction], Result]) -> Result:
        """Run work that only reads, in this thread, on one consistent state of the database.

        Raises:
            ApiError: 400/12 if it takes longer than `limits.QUERY_SECONDS`.
        """
        connection = self._reader()
        give_up = time.monotonic() + limits.QUERY_SECONDS
        connection.set_progress_handler(lambda: time.monotonic() > give_up, 100_000)
        connection.execute("BEGIN")
        try:
            return work(Transaction(connection))
        except sqlite3.OperationalError as error:
            if "interrupted" in str(error):
                raise ApiError(400, 12, "The query took too long", seconds=limits.QUERY_SECONDS) from None
            if "user-defined function" in str(error):  # only a regular expression can fail: it took too long
                raise ApiError(400, 21, "The regular expression takes too long to match") from None
            raise
        finally:
            connection.execute("ROLLBACK")

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect(read_only=True)
            with self._lock:
                self._readers.append(connection)
        return connection

    def _write_all(self) -> None:
        """Serve the queue until None arrives; sweep while it is empty."""
        littered = True
        while True:
            try:
                item = self._queue.get(block=not littered)
            except queue.Empty:
                littered = self._sweep()
                continue
            if item is None:
                return
            littered = True
            group = [item]
            last = False
            while len(group) < limits.GROUP_COMMIT_CALLS:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    last = True
                    break
                group.append(following)
            self._write_group(group)
            if last:
                return

    def _sweep(self) -> bool:
        """Remove a piece of what was deleted; tell whether there is more."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            more = sweep(Transaction(self._connection))
            self._connection.execute("COMMIT")
            return more
        except sqlite3.Error:
            log.exception("sweeping failed; it is tried again after the next call")
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            return False

    def _write_group(self, group: list[tuple[Callable[[Transaction], Any], "Future[Any]"]]) -> None:
        """Run several calls in one transaction, each in a savepoint of its own; answer them after the commit."""
        # A caller may have given up, as when a client goes away; from here on it cannot, so each can be answered.
        group = [(work, future) for work, future in group if future.set_running_or_notify_cancel()]
        answers: list[tuple[Future[Any], Transaction, Any, BaseException | None]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for work, future in group:
                transaction = Transaction(self._connection, self._memory)
                result: Any = None
                error: Exception | None = None
                self._connection.execute("SAVEPOINT call")
                try:
                    result = work(transaction)
                except sqlite3.Error as failure:
                    if (
                        not self._connection.in_transaction
                    ):  # the whole transaction is gone, as on a full disk
                        raise
                    error = failure
                except Exception as failure:
                    error = failure
                if error is not None:
                    self._connection.execute("ROLLBACK TO call")
                self._connection.execute("RELEASE call")
                answers.append((future, transaction, result, error))
            self._connection.execute("COMMIT")
        except Exception as failure:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            for _, future in group:
                future.set_exception(_explained(failure))
            return
        for future, transaction, result, failed in answers:
            if failed is not None:
                future.set_exception(_explained(failed))
            else:
                transaction.committed()
                future.set_result(result)

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Give a connection of one's own that sees one consistent state, for long reads such as a backup."""
        connection = self._connect(read_only=True)
        try:
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """Finish what was queued, then close. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._writer.join()
        with self._lock:
            for reader in self._readers:
                reader.close()
        self._connection.close()


def _explained(error: BaseException) -> BaseException:
    """Return what the client is told: a full disk is named."""
    if isinstance(error, sqlite3.OperationalError) and any(
        word in str(error) for word in ("full", "disk I/O")
    ):
        return ApiError(500, 100, "The server's disk is full: nothing of this call was kept")
    return error
