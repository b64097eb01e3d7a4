"""The journal of a run: append-only segments of checksummed records.

`journal/000001.jsonl`, `000002.jsonl`, … hold one record a line: the CRC-32 of the JSON in eight hex digits,
a space, the JSON (ASCII, so no line break hides in it), a line feed. The first line of a segment is its
header:

    {"format":"stepwise-journal","version":1,"journal":"<32 hex digits>","first_seq":1}

and every other line one event:

    {"seq":7,"time":1795253555.25,"event":"scalars","values":{"train/loss":0.5},"step":100}

Sequence numbers begin at 1 and have no gaps, through all segments. `journal` and `seq` together name an event
for ever, also in a copy of the run folder, so that a tracker can recognise what it was sent twice. A record
that a crash cut off can only stand at the very end (a torn tail); a damaged record anywhere else is an error.
"""

import os
import threading
import time
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout
from loguru import logger as log

from stepwise_track import limits
from stepwise_track.errors import TrackError
from stepwise_track.events import Event, event_from_fields, event_to_fields
from stepwise_track.values import decode_json, encode_json

FORMAT = "stepwise-journal"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Record:
    """An event with its sequence number and the time it was logged (Unix seconds)."""

    seq: int
    time: float
    event: Event


@dataclass(frozen=True, slots=True)
class TornTail:
    """Bytes at the end of a segment that are no whole record: a crash cut the writing, or it is under way."""

    segment: Path
    offset: int
    size: int

    def __str__(self) -> str:
        return f"{self.size} bytes of an unfinished record at {self.segment}, byte {self.offset}"


def frame(body: dict[str, Any]) -> bytes:
    """Return the line of the journal that holds these values."""
    text = encode_json(body).encode("ascii")
    return b"%08x %b\n" % (zlib.crc32(text), text)


def unframe(line: bytes) -> dict[str, Any] | None:
    """Return the values of a line, or None if the line is cut or its checksum does not match."""
    text = line[9:-1]
    if line[:9] != b"%08x " % zlib.crc32(text) or line[-1:] != b"\n":
        return None
    body: dict[str, Any] = decode_json(text)
    return body


class JournalReader:
    """Iterates over the records of a journal, while checking it. A journal that is being written can be read.

    Args:
        directory: the `journal` folder of a run.

    Attributes:
        torn_tail: after an iteration, what was left out at the end, or None.
        journal_id: after the first record, the id of the journal.
        last_seq: sequence number of the last record seen.
        segment: number of the last segment seen.
        offset: size of its whole records, in bytes.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._restart()

    def _restart(self) -> None:
        self.torn_tail: TornTail | None = None
        self.journal_id = ""
        self.last_seq = self.segment = self.offset = 0

    def __iter__(self) -> Iterator[Record]:
        """Yield the records in order.

        Raises:
            TrackError: at a damaged, missing or unknown record, with its place.
        """
        self._restart()
        for path in sorted(self.directory.glob("[0-9]" * 6 + ".jsonl")):
            self.segment, self.offset = self.segment + 1, 0
            if int(path.stem) != self.segment:
                raise self._damage(f"segment {self.segment:06}.jsonl is missing in {self.directory}")
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    body = unframe(line)
                    if body is None:
                        self._require_end(file, path, number)
                        return
                    if number == 1:
                        self._check_header(body, path)
                    else:
                        yield self._record(body, path, number)
                    self.offset += len(line)

    def _check_header(self, header: dict[str, Any], path: Path) -> None:
        """Refuse another format, a newer version, and a segment that does not follow on the one before."""
        if header.get("format") != FORMAT or header.get("version") != VERSION:
            raise TrackError(
                f"{path} is no journal of version {VERSION}: it begins with {encode_json(header)[:80]}",
                hint="a newer version wrote it: pip install --upgrade stepwise-track",
            )
        self.journal_id = self.journal_id or header["journal"]
        if (header["journal"], header["first_seq"]) != (self.journal_id, self.last_seq + 1):
            raise self._damage(
                f"{path} does not follow on record {self.last_seq} of journal {self.journal_id}"
            )

    def _record(self, body: dict[str, Any], path: Path, number: int) -> Record:
        seq = body.pop("seq", None)
        if seq != self.last_seq + 1:
            raise self._damage(f"record {self.last_seq + 1} is missing at {path}, line {number}")
        self.last_seq = seq
        return Record(seq, body.pop("time"), event_from_fields(body))

    def _require_end(self, file: BinaryIO, path: Path, number: int) -> None:
        """Take a bad line as the torn tail if nothing valid follows it; raise otherwise."""
        later = self.directory / f"{self.segment + 1:06}.jsonl"
        if later.exists() or any(unframe(line) is not None for line in file):
            raise self._damage(f"the record at {path}, line {number} (byte {self.offset}) is damaged")
        self.torn_tail = TornTail(path, self.offset, path.stat().st_size - self.offset)

    def _damage(self, message: str) -> TrackError:
        return TrackError(
            message,
            hint=f"restore it from a copy, or set it aside: mv {self.directory} {self.directory}.damaged",
        )


def read_journal(directory: Path | str) -> Iterator[Record]:
    """Iterate over the records of a journal; a torn tail is left out, with a warning in the log.

    Args:
        directory: the `journal` folder of a run, which may be in use.

    Raises:
        TrackError: at a damaged, missing or unknown record, with its place.
    """
    reader = JournalReader(Path(directory))
    yield from reader
    if reader.torn_tail:
        log.warning("left out {}", reader.torn_tail)


class JournalWriter:
    """Appends events to a journal, new or old. One writer per journal; any number of its threads.

    A record is in the page cache when `append` returns, so it survives the death of the process. A thread
    brings it to the disk within `limits.FSYNC_INTERVAL_S`. After a crash the torn tail is cut off: its bytes
    never were a record.

    Args:
        directory: the `journal` folder of a run; created if absent.
        durable: bring every record to the disk before `append` returns: a power failure loses nothing then, and
            a call costs as long as the disk takes.

    Attributes:
        recovered: the torn tail that was cut off, or None.
        begun: time of the first record (Unix seconds); now, if there is none.

    Raises:
        TrackError: if another writer has the journal, or if it is damaged.
        OSError: if the folder cannot be written.
    """

    def __init__(self, directory: Path | str, *, durable: bool = False) -> None:
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._durable = durable
        self._pid = os.getpid()
        self._lock = FileLock(self.directory / "writer.lock", timeout=limits.LOCK_WAIT_S, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            raise TrackError(
                f"{self.directory} has a writer already: another process, or this one",
                hint=f"see whose run it is: stepwise runs show {self.directory.parent}",
            ) from None
        self._mutex, self._sync_mutex, self._closing = threading.Lock(), threading.Lock(), threading.Event()
        try:
            self._open()
        except BaseException:
            self._lock.release()
            raise
        self._flusher = threading.Thread(target=self._flush_regularly, name="journal-fsync", daemon=True)
        self._flusher.start()

    def _open(self) -> None:
        """Find the end of what is there, cut off a torn tail, and begin a segment if there is none."""
        reader = JournalReader(self.directory)
        self.begun = time.time()
        for record in reader:
            self.begun = record.time if record.seq == 1 else self.begun
        self.recovered = reader.torn_tail
        self.journal_id = reader.journal_id or uuid.uuid4().hex
        self._segment = reader.segment
        self._end = (reader.last_seq, reader.offset)
        self._unsettled, self._unsynced = 0, False
        if reader.offset:
            self._fd = os.open(self._path(), os.O_WRONLY | os.O_APPEND)
            if reader.torn_tail:
                os.ftruncate(self._fd, reader.offset)
        else:  # no segment yet, or one that was cut off within its header
            self._segment = max(reader.segment, 1)
            self._path().unlink(missing_ok=True)
            self._fd, size = self._create_segment()
            self._end = (reader.last_seq, size)

    @property
    def last_seq(self) -> int:
        """Sequence number of the last record; 0 in an empty journal."""
        return self._end[0]

    def append(self, event: Event) -> int:
        """Write one event and return its sequence number.

        Raises:
            OSError: if it could not be written (full disk, closed journal, a process forked from the
                writer's). The journal stays valid; a later append may succeed.
        """
        if os.getpid() != self._pid:  # a fork has a copy of our state: its numbers would repeat ours
            raise OSError(f"the journal belongs to process {self._pid}, not to its fork {os.getpid()}")
        with self._mutex:
            if self._fd < 0:
                raise OSError("the journal is closed")
            if self._unsettled:
                self._settle()
            if self._end[1] >= limits.SEGMENT_BYTES:
                self._rotate()
            seq = self._end[0] + 1
            line = frame({"seq": seq, "time": time.time(), **event_to_fields(event)})
            self._unsettled = len(line)
            _write_all(self._fd, line)
            if self._durable:
                os.fsync(self._fd)
            self._end = (seq, self._end[1] + len(line))  # one assignment: a signal may raise between any two
            self._unsettled, self._unsynced = 0, not self._durable
            return seq

    def _settle(self) -> None:
        """Take back what a failed or interrupted write left; but a whole line may have been read already: it stays."""
        seq, end = self._end
        if os.fstat(self._fd).st_size == end + self._unsettled:
            self._end, self._unsynced = (seq + 1, end + self._unsettled), True
        else:
            os.ftruncate(self._fd, end)
        self._unsettled = 0

    def flush(self) -> None:
        """Bring every record to the disk (fsync).

        Raises:
            OSError: if the disk refuses.
        """
        with self._sync_mutex:
            if self._unsynced and self._fd >= 0:
                self._unsynced = False
                os.fsync(self._fd)

    def close(self) -> None:
        """Flush, stop the thread, and let go of the journal. A second call does nothing.

        Raises:
            OSError: if the last records could not be brought to the disk.
        """
        if os.getpid() != self._pid or self._fd < 0:
            return
        self._closing.set()
        self._flusher.join()
        try:
            self.flush()
        finally:
            with self._mutex, self._sync_mutex:
                os.close(self._fd)
                self._fd = -1
                self._lock.release()

    def _path(self) -> Path:
        return self.directory / f"{self._segment:06}.jsonl"

    def _create_segment(self) -> tuple[int, int]:
        """Create the file of the current segment with its header; return the descriptor and the size."""
        first_seq = self._end[0] + 1
        header = {"format": FORMAT, "version": VERSION, "journal": self.journal_id, "first_seq": first_seq}
        line = frame(header)
        fd = os.open(self._path(), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            _write_all(fd, line)
            _sync_directory(self.directory)
        except BaseException:
            os.close(fd)
            self._path().unlink()
            raise
        return fd, len(line)

    def _rotate(self) -> None:
        """Go on in a new segment; where that fails, everything stays as it was."""
        with self._sync_mutex:
            os.fsync(self._fd)
            self._segment += 1
            try:
                fd, size = self._create_segment()
            except BaseException:
                self._segment -= 1
                raise
            full, self._fd, self._end = self._fd, fd, (self._end[0], size)
            os.close(full)

    def _flush_regularly(self) -> None:
        """Bound what a power failure can lose, until the journal closes."""
        while not self._closing.wait(limits.FSYNC_INTERVAL_S):
            try:
                self.flush()
            except OSError as error:
                log.warning(
                    "the last second of {} may not outlive a power failure: {}", self.directory, error
                )


def _write_all(fd: int, line: bytes) -> None:
    """Write the whole line: the system may take it in parts, for instance when the disk fills up."""
    written = os.write(fd, line)
    while written < len(line):
        written += os.write(fd, line[written:])


def _sync_directory(directory: Path) -> None:
    """Make the name of a new file durable; Windows, where folders cannot be opened, sees to it itself."""
    if os.name == "posix":
        fd = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
