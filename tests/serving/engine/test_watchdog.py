"""What ends a worker that cannot be mended, and what does not."""

from __future__ import annotations

import threading
import time

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
def test_a_lost_context_is_told_from_an_error_that_passes(text: str, sticky: bool) -> None:
    """F-23: errors after which no call succeeds are known by onnxruntime's own words; out of memory passes."""
    assert is_sticky(RuntimeError(text)) is sticky


def test_a_lost_worker_is_not_ready_and_leaves_once() -> None:
    """F-23: from the first such error on the worker is not ready; a moment later it ends, once."""
    left: list[int] = []
    is_over = threading.Event()

    def leave(code: int) -> None:
        left.append(code)
        is_over.set()

    events: list[str] = []
    watchdog = Watchdog(leave)
    for text in ("harmless", "CUDA failure 700: x", "CUDA failure 700: x"):
        watchdog.inspect(RuntimeError(text), lambda event, **facts: events.append(event))
        assert watchdog.is_failing == (text != "harmless")
    assert is_over.wait(30)
    assert (left, events) == ([EXIT_CODE], ["lost"])


def test_a_run_that_never_returns_ends_the_worker() -> None:
    """F-05: the watchdog leaves when one of several runs has been going on for too long, and says so."""
    is_over = threading.Event()
    events: list[str] = []
    watchdog = Watchdog(lambda code: is_over.set())
    began = time.monotonic()
    watchdog.watch(lambda: [None, began], 0.1, lambda event, **facts: events.append(event))
    assert is_over.wait(30)
    assert (watchdog.is_failing, events) == (True, ["stalled"])


def test_a_worker_says_why_before_it_ends() -> None:
    """The farewell, by which the log is written, comes after the reason and before the end."""
    is_over = threading.Event()
    done: list[str] = []

    def leave(code: int) -> None:
        done.append("left")
        is_over.set()

    watchdog = Watchdog(leave)
    watchdog.on_exit = lambda: done.append("written")
    began = time.monotonic()
    watchdog.watch(lambda: [began], 0.1, lambda event, **facts: done.append(event))
    assert is_over.wait(30)
    assert done == ["stalled", "written", "left"]


def test_runs_that_return_keep_the_worker() -> None:
    """An idle worker, or one whose runs are short, is left alone."""
    looked = threading.Semaphore(0)
    watchdog = Watchdog(lambda code: pytest.fail("left"))

    def running_since() -> list[float | None]:
        looked.release()
        return [None, time.monotonic()]

    watchdog.watch(running_since, 0.1, lambda event, **facts: None)
    for _ in range(8):
        assert looked.acquire(timeout=30)
    assert not watchdog.is_failing
