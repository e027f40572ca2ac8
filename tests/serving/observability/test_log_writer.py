"""The log writer: lines complete and in order, and a service that no reader can block."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from serving.observability.log_writer import ATOMIC_WRITE_BYTES, TURNS_FILE, LogWriter, split_chunks


class Pipe:
    """A pipe, and the number of lines dropped."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.dropped = 0

    def count(self, lines: int) -> None:
        self.dropped += lines

    def rest(self) -> list[str]:
        """All lines until the write end is closed."""
        with os.fdopen(self.reader) as file:
            return file.read().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that is closed after the test."""
    pipe = Pipe()
    yield pipe
    for descriptor in (pipe.reader, pipe.writer):
        with suppress(OSError):
            os.close(descriptor)


def test_lines_are_written_in_order(pipe: Pipe) -> None:
    """Lines are written in order, including those that ``close`` writes."""
    log_writer = LogWriter(pipe.writer)
    for number in range(1000):
        log_writer.write(f"line {number}")
    log_writer.close(30)
    os.close(pipe.writer)
    assert pipe.rest() == [f"line {number}" for number in range(1000)]


def test_an_event_is_one_line_of_json(pipe: Pipe) -> None:
    """An event is a JSON object with its name, its time and its facts."""
    log_writer = LogWriter(pipe.writer)
    log_writer.event("reload", file="ä\n", count=1)
    log_writer.close(30)
    os.close(pipe.writer)
    (line,) = pipe.rest()
    fields = json.loads(line)
    assert fields.pop("time").endswith("Z")
    assert fields == {"event": "reload", "file": "ä\n", "count": 1}


@pytest.mark.parametrize("blocks", [True, False])
def test_a_reader_that_does_not_read_blocks_nothing(pipe: Pipe, blocks: bool) -> None:
    """Lines beyond the buffer are dropped and counted; once read, the log says how many are missing, and lines are complete."""
    os.set_blocking(pipe.writer, blocks)
    log_writer = LogWriter(pipe.writer, max_buffer_bytes=10_000)
    log_writer.on_dropped(pipe.count)
    for number in range(10_000):
        log_writer.write(json.dumps({"number": number, "fill": "x" * 100}))  # more than the pipe and the buffer hold
    assert pipe.dropped > 0
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(pipe.rest()))
    reading.start()
    log_writer.close(30)
    os.close(pipe.writer)
    reading.join(30)
    parsed = [json.loads(line) for line in lines]
    kept = [line["number"] for line in parsed if "number" in line]
    assert kept == sorted(set(kept))
    assert sum(line["lines"] for line in parsed if line.get("event") == "log_dropped") == pipe.dropped == 10_000 - len(kept)


def test_a_closed_reader_only_costs_its_lines(pipe: Pipe) -> None:
    """Lines to a closed pipe are counted as dropped, and ``write`` does not fail."""
    os.close(pipe.reader)
    log_writer = LogWriter(pipe.writer)
    log_writer.on_dropped(pipe.count)
    for _ in range(10):
        log_writer.write("line")
    log_writer.close(30)
    assert pipe.dropped == 10


def test_a_full_disk_only_costs_lines() -> None:
    """Lines to ``/dev/full`` are counted as dropped."""
    full = os.open("/dev/full", os.O_WRONLY)
    pipe = Pipe()
    log_writer = LogWriter(full)
    log_writer.on_dropped(pipe.count)
    log_writer.write("line")
    log_writer.close(30)
    os.close(full)
    assert pipe.dropped == 1


def test_a_log_goes_on_when_its_disk_has_space_again(tmp_path: Path) -> None:
    """Lines from the start on to a full disk are lost; later ones are written, with the number of those that are missing."""
    descriptor, written = os.open("/dev/full", os.O_WRONLY), os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    lost = threading.Event()
    log_writer = LogWriter(descriptor)
    log_writer.on_dropped(lambda lines: lost.set())
    log_writer.event("start")
    assert lost.wait(30)
    os.dup2(written, descriptor)
    log_writer.event("later")
    log_writer.close(30)
    os.close(descriptor)
    os.close(written)
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(event["event"], event.get("lines")) for event in events] == [("later", None), ("log_dropped", 1)]


@pytest.mark.parametrize("turns", [None, TURNS_FILE])
def test_writers_of_one_pipe_do_not_mix_their_lines(pipe: Pipe, tmp_path: Path, turns: str | None) -> None:
    """Two log_writers, as two workers have them, at once: with turns, and without by short writes."""
    file = tmp_path / turns if turns else None
    log_writers = [LogWriter(pipe.writer, max_buffer_bytes=10_000_000, turns=file) for _ in range(2)]

    def write(index: int) -> None:
        for number in range(3000):
            log_writers[index].write(json.dumps({"writer": index, "number": number, "fill": "x" * (number % 700)}))

    threads = [threading.Thread(target=write, args=[index]) for index in range(2)]
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(pipe.rest()))
    for thread in (*threads, reading):
        thread.start()
    for thread in threads:
        thread.join(30)
    for log_writer in log_writers:
        log_writer.close(30)
    os.close(pipe.writer)
    reading.join(30)
    parsed = [json.loads(line) for line in lines]
    for index in range(2):
        assert [line["number"] for line in parsed if line["writer"] == index] == list(range(3000))


def test_a_writer_with_turns_writes_all_it_has_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand lines that wait are one write, not one for each chunk of 4 KiB."""
    writes: list[int] = []

    def keep(descriptor: int, data: bytes) -> int:
        writes.append(len(data))
        return len(data)

    with (tmp_path / "log").open("wb") as file:
        with (tmp_path / TURNS_FILE).open("wb") as other:
            fcntl.flock(other, fcntl.LOCK_EX)  # another worker has its turn
            log_writer = LogWriter(file.fileno(), turns=tmp_path / TURNS_FILE)
            for number in range(10_000):
                log_writer.write(f"line {number}")
            monkeypatch.setattr(os, "write", keep)
        log_writer.close(30)
    assert sum(writes) == sum(len(f"line {number}\n") for number in range(10_000))
    assert len(writes) <= 3


def test_chunks_are_of_whole_lines() -> None:
    """A chunk has as many lines as a pipe takes atomically; a longer line is a chunk of its own."""
    lines = [b"x" * 1000] * 5 + [b"y" * 5000] + [b"z"]
    chunks = list(split_chunks(b"\n".join(lines) + b"\n"))
    assert [line for chunk in chunks for line in chunk.splitlines()] == lines
    assert [chunk.count(b"\n") for chunk in chunks] == [4, 1, 1, 1]
    assert len(chunks[0]) <= ATOMIC_WRITE_BYTES


def test_several_threads_may_write(tmp_path: Path) -> None:
    """No line of several threads is lost or cut."""
    path = tmp_path / "log"
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    log_writer = LogWriter(file)

    def write() -> None:
        for _ in range(2000):
            log_writer.write("x" * 50)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    log_writer.close(30)
    os.close(file)
    assert path.read_text().splitlines() == ["x" * 50] * 8000
