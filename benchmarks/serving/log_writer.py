"""Cost of a log line: ``LogWriter.write`` against ``logging`` with QueueHandler and QueueListener, interleaved in one process.

The time of the calling thread is what a request pays; the time of the process includes the writing thread.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import time
from collections.abc import Callable
from logging.handlers import QueueHandler, QueueListener
from pathlib import Path
from queue import SimpleQueue
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from serving.observability.log_writer import LogWriter

Times = tuple[float, float]
"""Microseconds of the calling thread and of the process, per line."""


def time_lines(write: Callable[[str], None], close: Callable[[], None], lines: int) -> Times:
    """Write lines at the pace of a busy worker's event loop, then close; the cost per line."""
    line = json.dumps({"event": "request", "fill": "x" * 220})
    thread, process = time.thread_time(), time.process_time()
    for number in range(lines):
        write(line)
        if number % 1000 == 999:
            time.sleep(0.01)  # lets the writing thread run, so that no buffer overflows
    in_thread = time.thread_time() - thread
    close()
    return 1e6 * in_thread / lines, 1e6 * (time.process_time() - process) / lines


def time_log_writer(path: Path, lines: int) -> Times:
    """Measure the service's own writer."""
    writer = LogWriter(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
    return time_lines(writer.write, lambda: writer.close(60), lines)


def time_queue_handler(path: Path, lines: int) -> Times:
    """Measure the standard library's queue."""
    queue: SimpleQueue[Any] = SimpleQueue()
    file = logging.FileHandler(path, "w")
    listener = QueueListener(queue, file)
    logger = logging.Logger("requests")
    logger.addHandler(QueueHandler(queue))
    listener.start()
    times = time_lines(logger.info, listener.stop, lines)
    file.close()
    return times


def main() -> None:
    """Print the medians, and the lines that each design lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=50_000, help="lines of each measurement")
    parser.add_argument("--repeats", type=int, default=7, help="measurements of each design")
    arguments = parser.parse_args()
    designs = {"LogWriter": time_log_writer, "QueueHandler": time_queue_handler}
    times: dict[str, list[Times]] = {name: [] for name in designs}
    lost = dict.fromkeys(designs, 0)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        for _ in range(arguments.repeats):
            for name, measure in designs.items():
                times[name].append(measure(path, arguments.lines))
                lost[name] += arguments.lines - len(path.read_bytes().splitlines())
    for name, pairs in times.items():
        thread, process = (median(numbers) for numbers in zip(*pairs, strict=True))
        print(f"{name:12} {thread:6.2f} us in the calling thread, {process:6.2f} us in all; {lost[name]} lines lost")


if __name__ == "__main__":
    main()
