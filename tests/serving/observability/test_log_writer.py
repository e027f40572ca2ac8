"""The log's way out: every line whole and in order, and a service that goes on whatever its reader does."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from serving.observability.log_writer import ATOMIC_WRITE_BYTES, LogWriter, in_pieces


class Pipe:
    """A pipe, and what has been dropped on its way."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.dropped = 0

    def count(self, lines: int) -> None:
        self.dropped += lines

    def rest(self) -> list[str]:
        """All lines until the other end is closed."""
        with os.fdopen(self.reader) as file:
            return file.read().splitlines()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """One whose ends are closed afterwards, if they still are open."""
    pipe = Pipe()
    yield pipe
    for descriptor in (pipe.reader, pipe.writer):
        with suppress(OSError):
            os.close(descriptor)


def test_lines_are_written_in_order(pipe: Pipe) -> None:
    """Those of closing, too."""
    log_writer = LogWriter(pipe.writer)
    for number in range(1000):
        log_writer.write(f"line {number}")
    log_writer.close()
    os.close(pipe.writer)
    assert pipe.rest() == [f"line {number}" for number in range(1000)]


def test_an_event_is_one_line_of_json(pipe: Pipe) -> None:
    """With its time, and what it is about."""
    log_writer = LogWriter(pipe.writer)
    log_writer.event("reload", file="ä\n", count=1)
    log_writer.close()
    os.close(pipe.writer)
    (line,) = pipe.rest()
    told = json.loads(line)
    assert told.pop("time").endswith("Z")
    assert told == {"event": "reload", "file": "ä\n", "count": 1}


@pytest.mark.parametrize("blocks", [True, False])
def test_nobody_waits_for_a_reader_that_does_not_read(pipe: Pipe, blocks: bool) -> None:
    """What finds no room is dropped and counted; read at last, the log says how much is missing, and every line is whole."""
    os.set_blocking(pipe.writer, blocks)
    log_writer = LogWriter(pipe.writer, room=10_000)
    log_writer.count_dropped(pipe.count)
    for number in range(10_000):
        log_writer.write(json.dumps({"number": number, "fill": "x" * 100}))  # more than the pipe and the room hold
    assert pipe.dropped > 0
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(pipe.rest()))
    reading.start()
    log_writer.close(30)
    os.close(pipe.writer)
    reading.join(30)
    told = [json.loads(line) for line in lines]
    kept = [line["number"] for line in told if "number" in line]
    assert kept == sorted(set(kept))
    assert sum(line["lines"] for line in told if line.get("event") == "log_dropped") == pipe.dropped == 10_000 - len(kept)


def test_a_reader_that_is_gone_costs_its_lines_only(pipe: Pipe) -> None:
    """They are counted as dropped, and those who write notice nothing."""
    os.close(pipe.reader)
    log_writer = LogWriter(pipe.writer)
    log_writer.count_dropped(pipe.count)
    for _ in range(10):
        log_writer.write("line")
    log_writer.close(30)
    assert pipe.dropped == 10


def test_a_full_disk_costs_lines_only() -> None:
    """``/dev/full`` takes none."""
    full = os.open("/dev/full", os.O_WRONLY)
    pipe = Pipe()
    log_writer = LogWriter(full)
    log_writer.count_dropped(pipe.count)
    log_writer.write("line")
    log_writer.close(30)
    os.close(full)
    assert pipe.dropped == 1


def test_writers_of_one_pipe_do_not_mix_their_lines(pipe: Pipe) -> None:
    """Two journals, as two workers have them, at once."""
    journals = [LogWriter(pipe.writer, room=10_000_000) for _ in range(2)]

    def write(place: int) -> None:
        for number in range(3000):
            journals[place].write(json.dumps({"place": place, "number": number, "fill": "x" * (number % 700)}))

    threads = [threading.Thread(target=write, args=[place]) for place in range(2)]
    lines: list[str] = []
    reading = threading.Thread(target=lambda: lines.extend(pipe.rest()))
    for thread in (*threads, reading):
        thread.start()
    for thread in threads:
        thread.join(30)
    for log_writer in journals:
        log_writer.close(30)
    os.close(pipe.writer)
    reading.join(30)
    told = [json.loads(line) for line in lines]
    for place in range(2):
        assert [line["number"] for line in told if line["place"] == place] == list(range(3000))


def test_pieces_are_of_whole_lines() -> None:
    """As many as a pipe takes at once; a longer one by itself."""
    lines = [b"x" * 1000] * 5 + [b"y" * 5000] + [b"z"]
    pieces = list(in_pieces(b"\n".join(lines) + b"\n"))
    assert [line for piece in pieces for line in piece.splitlines()] == lines
    assert [piece.count(b"\n") for piece in pieces] == [4, 1, 1, 1]
    assert len(pieces[0]) <= ATOMIC_WRITE_BYTES


def test_several_threads_may_write(tmp_path: Path) -> None:
    """No line is lost or cut."""
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
