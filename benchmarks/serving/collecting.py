"""The service with its garbage collections timed, for ``pauses``.

COLLECTIONS=FOLDER THRESHOLD=10000 python -m benchmarks.serving.collecting

Each worker appends a line to FOLDER/PID for each collection while it serves: the generation and the thread's processor seconds.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

import serving.process.launcher
import serving.process.worker
from serving.process.worker import Shared

_run_worker = serving.process.worker.run_worker


def run_timed_worker(*arguments: Any, **named: Any) -> None:
    """What ``run_worker`` does, with the collections timed."""
    shared = next(argument for argument in arguments if isinstance(argument, Shared))
    begun = 0.0

    def note(phase: str, info: dict[str, int]) -> None:
        nonlocal begun
        now = time.thread_time()
        if phase == "start":
            begun = now
        elif shared.serving.is_set():
            line = f"{info['generation']} {now - begun:.6f}\n"
            with (Path(os.environ["COLLECTIONS"]) / str(os.getpid())).open("a") as file:
                file.write(line)

    gc.callbacks.append(note)
    serving.process.worker.GC_THRESHOLD = int(os.environ["THRESHOLD"])
    _run_worker(*arguments, **named)


if __name__ == "__main__":
    serving.process.worker.run_worker = run_timed_worker
    sys.exit(serving.process.launcher.main(os.environ))
