"""The journal keeps its promises: whatever happens to the writer or to the bytes, no record changes silently."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepwise_track import JournalReader, JournalWriter, TrackError, limits, read_journal
from stepwise_track.events import Event, Scalars, SingleValues, Text

names = st.text(min_size=1, max_size=20)
numbers = st.one_of(st.integers(), st.floats(allow_nan=False))
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Scalars, st.dictionaries(names, numbers, max_size=4), st.integers(0, 10**9)),
    st.builds(SingleValues, st.dictionaries(names, numbers, max_size=4)),
    st.builds(Text, names, st.text(), st.none(), st.dictionaries(names, st.text(), max_size=2)),
)


def write(directory: Path, *some: Event) -> None:
    writer = JournalWriter(directory)
    for event in some:
        writer.append(event)
    writer.close()


def read(directory: Path) -> list[Event]:
    return [record.event for record in JournalReader(directory)]


def notes(count: int) -> list[Event]:
    return [Text("note", f"number {number}", number) for number in range(count)]


@given(st.lists(events, max_size=8), st.lists(events, max_size=4))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_was_written_is_read_and_continued(first: list[Event], more: list[Event]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), *first)
        write(Path(folder), *more)
        records = list(read_journal(folder))
    assert [record.event for record in records] == first + more
    assert [record.seq for record in records] == list(range(1, len(records) + 1))
    assert all(record.time > 1.7e9 for record in records)


def test_cut_at_every_byte_the_whole_records_before_it_stay(tmp_path: Path) -> None:
    write(tmp_path / "whole", *notes(3))
    content = (tmp_path / "whole" / "000001.jsonl").read_bytes()
    line_ends = [place + 1 for place, byte in enumerate(content) if byte == ord("\n")]
    for size in range(len(content)):
        cut = tmp_path / str(size)
        cut.mkdir()
        (cut / "000001.jsonl").write_bytes(content[:size])
        whole = [end for end in line_ends if end <= size]
        reader = JournalReader(cut)
        assert [record.event for record in reader] == notes(max(0, len(whole) - 1))
        torn = size - (whole[-1] if whole else 0)
        assert (reader.torn_tail.size if reader.torn_tail else 0) == torn


def test_cut_at_every_byte_a_writer_goes_on_after_the_whole_records(tmp_path: Path) -> None:
    write(tmp_path / "whole", *notes(2))
    content = (tmp_path / "whole" / "000001.jsonl").read_bytes()
    for size in range(len(content)):
        cut = tmp_path / str(size)
        cut.mkdir()
        (cut / "000001.jsonl").write_bytes(content[:size])
        kept = read(cut)
        writer = JournalWriter(cut)
        assert bool(writer.recovered) == (content[:size][-1:] not in (b"", b"\n"))
        assert writer.append(Text("note", "after")) == len(kept) + 1
        writer.close()
        assert read(cut) == [*notes(len(kept)), Text("note", "after")]


@pytest.mark.parametrize("flipped", [0x01, 0x20, 0xFF])
def test_an_altered_byte_is_never_read_as_a_record(tmp_path: Path, flipped: int) -> None:
    write(tmp_path, *notes(3))
    segment = tmp_path / "000001.jsonl"
    content = segment.read_bytes()
    last_two_lines = content.rindex(b"\n", 0, content.rindex(b"\n", 0, -1))
    for place, byte in enumerate(content):
        segment.write_bytes(content[:place] + bytes([byte ^ flipped]) + content[place + 1 :])
        reader = JournalReader(tmp_path)
        try:
            found = [record.event for record in reader]
        except TrackError as error:
            assert "damaged" in str(error) and str(segment) in str(error) and "mv " in str(error.hint)
        else:  # only damage that reaches the end can pass for a torn tail
            assert reader.torn_tail and place >= last_two_lines
            assert found == notes(len(found)) and len(found) < 3


def test_a_damaged_record_in_the_middle_is_named_and_nothing_is_appended(tmp_path: Path) -> None:
    write(tmp_path, *notes(5))
    segment = tmp_path / "000001.jsonl"
    lines = segment.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b"number 2", b"number 9")
    segment.write_bytes(b"".join(lines))
    place = f"{segment}, line 4 (byte {sum(map(len, lines[:3]))})"
    with pytest.raises(TrackError, match="is damaged") as caught:
        read(tmp_path)
    assert place in str(caught.value)
    with pytest.raises(TrackError, match="is damaged"):
        JournalWriter(tmp_path)
    assert segment.read_bytes() == b"".join(lines)


def test_a_record_or_a_segment_that_is_missing_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES", 300)
    write(tmp_path, *notes(9))
    segments = sorted(tmp_path.glob("*.jsonl"))
    assert len(segments) > 3
    assert read(tmp_path) == notes(9)

    second = segments[1].read_bytes()
    lines = second.splitlines(keepends=True)
    segments[1].write_bytes(b"".join(lines[:-1]))
    with pytest.raises(TrackError, match="does not follow"):
        read(tmp_path)
    segments[1].write_bytes(b"".join([lines[0], *lines[2:]]))
    with pytest.raises(TrackError, match="is missing"):
        read(tmp_path)
    segments[1].unlink()
    with pytest.raises(TrackError, match=r"segment 000002\.jsonl is missing"):
        read(tmp_path)
    segments[1].write_bytes(second)
    write(tmp_path, Text("note", "more"))
    assert read(tmp_path) == [*notes(9), Text("note", "more")]


def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    from stepwise_track.journal import FORMAT, frame

    (tmp_path / "000001.jsonl").write_bytes(frame({"format": FORMAT, "version": 2}))
    with pytest.raises(TrackError, match="no journal of version 1") as caught:
        read(tmp_path)
    assert "upgrade" in str(caught.value.hint)


def test_an_event_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    from stepwise_track.journal import frame

    write(tmp_path)
    with (tmp_path / "000001.jsonl").open("ab") as file:
        file.write(frame({"seq": 1, "time": 0.0, "event": "hologram", "depth": 3}))
    with pytest.raises(TrackError, match="'hologram'"):
        read(tmp_path)


def test_a_second_writer_is_refused_until_the_first_closes(tmp_path: Path) -> None:
    first = JournalWriter(tmp_path)
    with pytest.raises(TrackError, match="has a writer already") as caught:
        JournalWriter(tmp_path)
    assert str(caught.value.hint).endswith(f"stepwise runs show {tmp_path.parent}")
    other = subprocess.run(
        [sys.executable, "-c", f"from stepwise_track import JournalWriter; JournalWriter({str(tmp_path)!r})"],
        capture_output=True,
        text=True,
    )
    assert "has a writer already" in other.stderr
    first.close()
    write(tmp_path, Text("note", "now"))
    assert read(tmp_path) == [Text("note", "now")]


def test_threads_may_share_a_writer(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    threads = [
        threading.Thread(target=lambda one=one: [writer.append(Text(str(one), "x", n)) for n in range(200)])
        for one in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    found = read(tmp_path)
    for one in range(4):
        assert [event.step for event in found if isinstance(event, Text) and event.name == str(one)] == [
            *range(200)
        ]


def test_an_interrupt_within_a_write_leaves_a_valid_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path)
    writer.append(Text("note", "before"))
    real_write = os.write
    cut: int | None = -5

    def interrupted(fd: int, data: bytes) -> int:
        real_write(fd, data[:cut])
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        writer.append(Text("note", "half"))
    cut = None
    with pytest.raises(KeyboardInterrupt):
        writer.append(Text("note", "whole"))
    monkeypatch.undo()
    # A reader may have followed: what was a record for it stays one, with its number.
    whole = Text("note", "whole")
    assert read(tmp_path) == [Text("note", "before"), whole]
    assert writer.append(Text("note", "after")) == 3
    writer.close()
    assert read(tmp_path) == [Text("note", "before"), whole, Text("note", "after")]


def test_a_forked_worker_cannot_write_and_does_not_keep_the_lock(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    ready, wake = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:  # as a DataLoader worker, which may outlive a killed trainer
        try:
            writer.append(Text("note", "from the fork"))
            os.write(ready[1], b"wrote")
        except OSError:
            os.write(ready[1], b"refused")
        writer.close()
        os.read(wake[0], 1)
        os._exit(0)
    try:
        assert os.read(ready[0], 10) == b"refused"
        writer.append(Text("note", "from the writer"))
        writer.close()
        write(tmp_path, Text("note", "from the next"))
        assert read(tmp_path) == [Text("note", "from the writer"), Text("note", "from the next")]
    finally:
        os.write(wake[1], b"x")
        os.waitpid(child, 0)


WRITE_FOR_EVER = """
import sys
from stepwise_track import JournalWriter
from stepwise_track.events import Text
writer = JournalWriter(sys.argv[1])
for step in range(writer.last_seq, 10**9):
    writer.append(Text("note", "x" * 500, step))
    print(step, flush=True)
"""


def test_nothing_that_was_appended_is_lost_to_sigkill(tmp_path: Path) -> None:
    for attempt in (1, 2, 3):
        command = [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        while int(process.stdout.readline()) < 200 * attempt:
            pass
        process.send_signal(signal.SIGKILL)
        last_acknowledged = max(map(int, process.stdout.read().splitlines()), default=200 * attempt)
        process.wait()
        steps = [event.step for event in read(tmp_path) if isinstance(event, Text)]
        assert steps == list(range(len(steps)))
        assert len(steps) > last_acknowledged
    write(tmp_path, Text("note", "the end"))
    assert read(tmp_path)[-1] == Text("note", "the end")


def test_records_reach_the_disk_within_the_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FSYNC_INTERVAL_S", 0.05)
    synced = threading.Event()
    real_fsync = os.fsync
    writer = JournalWriter(tmp_path)

    def watched(fd: int) -> None:
        real_fsync(fd)
        synced.set()

    monkeypatch.setattr(os, "fsync", watched)
    writer.append(Text("note", "soon on disk"))
    assert synced.wait(10)
    writer.close()
    with pytest.raises(OSError, match="is closed"):
        writer.append(Text("note", "too late"))
