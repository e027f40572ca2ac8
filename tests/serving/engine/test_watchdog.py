"""Watchdog: which errors and stalls end a worker."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from serving.engine.watchdog import EXIT_CODE, Watchdog, is_sticky


@pytest.mark.parametrize(
    ("text", "sticky"),
    [
        ("CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=x ; expr=cudaStreamSynchronize", True),
        ("CUDA failure 719: unspecified launch failure", True),
        ("CUDA error 999: unknown error", True),
        ("CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED", True),
        ("CUDA failure 2: out of memory ; GPU=0", False),
        ("Failed to allocate memory for requested buffer of size 1024", False),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions for input: z", False),
    ],
)
def test_a_lost_context_is_distinguished_from_a_transient_error(text: str, sticky: bool) -> None:
    """F-23: errors of a lost CUDA context are recognised by onnxruntime's messages; out of memory is transient."""
    assert is_sticky(RuntimeError(text)) is sticky


@pytest.mark.slow
def test_a_lost_worker_is_not_ready_and_exits_once() -> None:
    """F-23: after the first such error the worker is not ready; a moment later it exits, once."""
    exit_codes: list[int] = []
    is_over = threading.Event()

    def exit_process(code: int) -> None:
        exit_codes.append(code)
        is_over.set()

    events: list[str] = []
    watchdog = Watchdog(exit_process)
    for text in ("harmless", "CUDA failure 700: x", "CUDA failure 700: x"):
        watchdog.inspect(RuntimeError(text), lambda event, **facts: events.append(event))
        assert watchdog.is_failing == (text != "harmless")
    assert is_over.wait(30)
    assert (exit_codes, events) == ([EXIT_CODE], ["lost"])


def test_a_run_that_never_returns_ends_the_worker() -> None:
    """F-05: when one of several runs takes too long, the worker is failing, logs ``stalled`` and exits."""
    is_over = threading.Event()
    events: list[str] = []
    watchdog = Watchdog(lambda code: is_over.set())
    began = time.monotonic()
    watchdog.watch(lambda: [None, began], 0.1, lambda event, **facts: events.append(event))
    assert is_over.wait(30)
    assert (watchdog.is_failing, events) == (True, ["stalled"])


def test_the_log_is_flushed_before_the_exit() -> None:
    """``on_exit``, which flushes the log, runs after the reason is logged and before the process exits."""
    is_over = threading.Event()
    done: list[str] = []

    def exit_process(code: int) -> None:
        done.append("exited")
        is_over.set()

    watchdog = Watchdog(exit_process)
    watchdog.on_exit = lambda: done.append("flushed")
    began = time.monotonic()
    watchdog.watch(lambda: [began], 0.1, lambda event, **facts: done.append(event))
    assert is_over.wait(30)
    assert done == ["stalled", "flushed", "exited"]


def test_runs_that_return_keep_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is idle or whose runs are short does not exit."""
    is_over, now = threading.Event(), [1000.0]
    # Of no other thread, and without the time for which the watchdog's own thread may be held up.
    monkeypatch.setattr("serving.engine.watchdog.time", SimpleNamespace(sleep=time.sleep, monotonic=lambda: now[0]))
    watchdog = Watchdog(lambda code: is_over.set())
    failing: list[bool] = []

    def running_since() -> list[float | None]:
        failing.append(watchdog.is_failing)
        now[0] += 0.05
        return [None, now[0] - 0.05 if len(failing) <= 8 else 0.0]  # the last one ends the thread

    watchdog.watch(running_since, 0.1, lambda event, **facts: None)
    assert is_over.wait(30)
    assert failing == [False] * 9
