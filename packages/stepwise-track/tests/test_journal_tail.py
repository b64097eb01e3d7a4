"""Following a journal while it is written: whole records only, each once, whatever happens at its end."""

import threading
from pathlib import Path

import pytest

from stepwise_track import JournalWriter, TrackError, limits
from stepwise_track.events import Text
from stepwise_track.journal import frame
from stepwise_track.relay.tail import JournalTail, is_locked, last_record_number


def write(directory: Path, first: int, last: int) -> None:
    writer = JournalWriter(directory)
    for number in range(first, last + 1):
        writer.append(Text("note", f"number {number}", number))
    writer.close()


def numbers(tail: JournalTail, limit: int = 10**6) -> list[int]:
    return [record.seq for record in tail.read(limit)]


def test_records_are_followed_through_segments_from_any_number_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tail = JournalTail(tmp_path)
    assert numbers(tail) == []
    monkeypatch.setattr(limits, "SEGMENT_BYTES", 500)
    write(tmp_path, 1, 20)
    assert len(list(tmp_path.glob("*.jsonl"))) > 3
    assert numbers(tail, 7) == [*range(1, 8)]
    assert numbers(tail) == [*range(8, 21)] and numbers(tail) == []
    write(tmp_path, 21, 30)
    assert numbers(tail) == [*range(21, 31)]
    for after in range(31):
        assert numbers(JournalTail(tmp_path, after)) == [*range(after + 1, 31)]
    assert last_record_number(tmp_path) == 30


def test_a_read_takes_about_so_many_bytes_and_a_longer_record_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = JournalWriter(tmp_path)
    for number in range(10):
        writer.append(Text("note", "x" * (5000 if number == 4 else 10)))
    writer.close()
    monkeypatch.setattr(limits, "BATCH_BYTES", 400)
    tail, reads = JournalTail(tmp_path), []
    while found := numbers(tail):
        reads.append(found)
    assert [seq for found in reads for seq in found] == [*range(1, 11)]
    assert reads == [[1, 2, 3, 4], [5, 6], [7, 8, 9, 10]]
    assert last_record_number(tmp_path) == 10


def test_a_torn_tail_is_left_until_it_is_a_record_or_cut_off(tmp_path: Path) -> None:
    write(tmp_path, 1, 3)
    segment = tmp_path / "000001.jsonl"
    whole = segment.read_bytes()
    line = frame({"seq": 4, "time": 1.0, "event": "text", "name": "note", "text": "number 4"})
    tail = JournalTail(tmp_path)
    assert numbers(tail) == [1, 2, 3]
    for size in range(1, len(line)):
        segment.write_bytes(whole + line[:size])
        assert numbers(tail) == []
        assert last_record_number(tmp_path) == 3
    segment.write_bytes(whole + line)
    assert numbers(tail) == [4]
    segment.write_bytes(whole + line + b"0badc0de half\n")
    assert numbers(tail) == []
    write(tmp_path, 5, 6)  # a new writer cuts off what is torn
    assert numbers(tail) == [5, 6]


def test_damage_and_loss_are_errors_and_not_gaps(tmp_path: Path) -> None:
    write(tmp_path, 1, 9)
    segment = tmp_path / "000001.jsonl"
    whole = segment.read_bytes()
    tail = JournalTail(tmp_path)
    assert numbers(tail) == [*range(1, 10)]
    segment.write_bytes(whole[:-20])
    with pytest.raises(TrackError, match="shorter than before"):
        tail.read(1)
    lines = whole.splitlines(keepends=True)
    segment.write_bytes(b"".join([*lines[:4], *lines[5:]]))
    tail = JournalTail(tmp_path)
    assert numbers(tail) == [1, 2, 3]
    with pytest.raises(TrackError, match="record 4 is missing"):
        tail.read(10)
    segment.write_bytes(whole.replace(b"number 5", b"number 6"))
    tail = JournalTail(tmp_path)
    assert numbers(tail) == [1, 2, 3, 4]
    with pytest.raises(TrackError, match="is damaged: byte") as caught:
        tail.read(10)
    assert str(segment) in str(caught.value)


def test_a_writer_at_full_speed_is_followed_without_gap_or_repeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SEGMENT_BYTES", 50_000)
    writing = threading.Thread(target=write, args=(tmp_path, 1, 5000))
    tail, seen = JournalTail(tmp_path), []
    writing.start()
    while writing.is_alive():
        seen += numbers(tail, 100)
    while more := numbers(tail, 100):
        seen += more
    assert seen == [*range(1, 5001)]


def test_a_journal_with_a_writer_is_locked(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path)
    assert is_locked(tmp_path)
    writer.close()
    assert not is_locked(tmp_path)
