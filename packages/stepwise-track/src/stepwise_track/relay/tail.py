"""Follows a journal while it is written: whole records only, in order, from any number on."""

import os
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from stepwise_track import limits
from stepwise_track.errors import TrackError
from stepwise_track.events import event_from_fields
from stepwise_track.journal import Record, unframe


class JournalTail:
    """Reads what a journal gets, as it gets it.

    Nothing is held open or locked between two reads, and what stands at the end without being a whole record is
    left for the next read: the writer is still at it, or will cut it off.

    Args:
        directory: the `journal` folder of a run.
        after: number of the last record that is known already.

    Attributes:
        last_seq: number of the last record read.
        journal_id: id of the journal; empty until its first segment is there.
    """

    def __init__(self, directory: Path, after: int = 0) -> None:
        self.directory = directory
        self.last_seq = after
        self.journal_id = ""
        self._segment = self._offset = 0
        self._unsynced: set[Path] = set()

    def read(self, max_records: int) -> list[Record]:
        """Return the records that are there and not read yet; none if there are none.

        Args:
            max_records: at most so many; also not much more than `limits.BATCH_BYTES` of them.

        Raises:
            TrackError: if the journal is damaged, newer than this package, or shorter than what was read.
            OSError: if it cannot be read.
        """
        records: list[Record] = []
        try:
            self._read_into(records, max_records)
        except TrackError:
            if not records:  # else they come first, and the next read finds the same damage
                raise
        return records

    def _read_into(self, records: list[Record], max_records: int) -> None:
        if not self._segment and not self._find_start():
            return
        size = 0
        while len(records) < max_records and size < limits.BATCH_BYTES:
            last = not self._path(
                self._segment + 1
            ).exists()  # asked before reading: then this one is complete
            lines = self._read_lines()
            for line in lines:
                if len(records) == max_records:
                    break
                body = unframe(line)
                if body is None:
                    raise self._damage(f"byte {self._offset}")
                if "format" not in body:
                    self._take(body, records)
                self._offset += len(line)
                size += len(line)
            if not lines:
                if last:
                    break
                self._segment, self._offset = self._segment + 1, 0

    def sync(self) -> None:
        """Bring what was read to the disk, so that no tracker has a record that a power failure takes from us.

        Raises:
            OSError: if the disk refuses.
        """
        for path in self._unsynced:
            fd = os.open(path, os.O_RDWR)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        self._unsynced.clear()

    def _path(self, segment: int) -> Path:
        return self.directory / f"{segment:06}.jsonl"

    def _find_start(self) -> bool:
        """Choose the segment with the next record; False if the journal has no header yet."""
        for path in sorted(self.directory.glob("[0-9]" * 6 + ".jsonl"), reverse=True):
            with path.open("rb") as file:
                header = unframe(file.readline())
            if header and header["first_seq"] <= self.last_seq + 1:
                self._segment, self.journal_id = int(path.stem), header["journal"]
                return True
        return False

    def _take(self, body: dict[str, Any], records: list[Record]) -> None:
        """Add a record, unless it is one of those known already."""
        seq = body.pop("seq")
        if seq <= self.last_seq:
            return
        if seq != self.last_seq + 1:
            raise self._damage(f"record {self.last_seq + 1} is missing")
        self.last_seq = seq
        self._unsynced.add(self._path(self._segment))
        records.append(Record(seq, body.pop("time"), event_from_fields(body)))

    def _read_lines(self) -> list[bytes]:
        """Read the whole lines from here on: a part of the segment, at least one line if there is one.

        A last line that does not check is left: it may be half written.
        """
        with self._path(self._segment).open("rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size < self._offset:
                raise self._damage("it is shorter than before")
            file.seek(self._offset)
            data = b""
            while b"\n" not in data:
                more = file.read(limits.BATCH_BYTES)
                if not more:
                    return []
                data += more
        lines = data[: data.rindex(b"\n") + 1].splitlines(keepends=True)
        while lines and unframe(lines[-1]) is None:
            lines.pop()
        return lines

    def _damage(self, what: str) -> TrackError:
        return TrackError(
            f"{self._path(self._segment)} is damaged: {what}",
            hint=f"see what is left: stepwise runs show {self.directory.parent}",
        )


def is_locked(directory: Path) -> bool:
    """Tell whether a journal has a writer now, by its lock."""
    lock = FileLock(directory / "writer.lock", timeout=0)
    try:
        with lock:
            return False
    except Timeout:
        return True


def last_record_number(directory: Path) -> int:
    """Return the number of the last whole record of a journal, reading little more than that; 0 if it is empty."""
    for path in sorted(directory.glob("[0-9]" * 6 + ".jsonl"), reverse=True):
        with path.open("rb") as file:
            size, step = file.seek(0, os.SEEK_END), 2**16
            while size:
                start = max(0, size - step)
                file.seek(start)
                for line in reversed(file.read(size - start).splitlines(keepends=True)):
                    body = unframe(line)
                    if body is not None:
                        return int(body["seq"]) if "seq" in body else int(body["first_seq"]) - 1
                if not start:
                    break
                step *= 4
    return 0
