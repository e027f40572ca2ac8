"""Faults of workers and of the machine: each end of a worker is logged, and what can be refused at start is."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.engine.watchdog import EXIT_CODE
from tests.harness.aftermath import unharmed
from tests.harness.processes import TIMEOUT, free_port, wait_for
from tests.harness.service import Server, ask, environment, running, wait_for_workers
from tests.serving.process.test_faults import launch, status

pytestmark = pytest.mark.process


def next_event(server: Server, name: str) -> dict[str, object]:
    """The next event of that name in the log."""
    assert server.process.stdout is not None
    for line in server.process.stdout:
        event: dict[str, object] = json.loads(line)
        if event["event"] == name:
            return event
    raise AssertionError(f"the log ended without {name}")


@pytest.mark.parametrize(("sign", "name"), [(signal.SIGKILL, "SIGKILL"), (signal.SIGBUS, "SIGBUS")])
def test_the_log_says_which_signal_ended_a_worker(root: Path, folder: Path, sign: int, name: str) -> None:
    """F-20: a worker's end is an event with its process id and its signal."""
    with running(root, models=folder / "1-grey.onnx") as server:
        (worker,) = server.workers()
        with unharmed(server):
            os.kill(worker, sign)
            event = next_event(server, "worker_ended")
            assert (event["pid"], event["signal"]) == (worker, name)


def test_a_stopped_worker_is_replaced(root: Path, folder: Path) -> None:
    """F-05: a worker without progress for ``GAN_STALL_SECONDS`` is killed and replaced, and requests are answered again."""
    with running(root, models=folder / "1-grey.onnx", stall_seconds=3) as server:
        (worker,) = server.workers()
        with unharmed(server):
            os.kill(worker, signal.SIGSTOP)
            assert next_event(server, "worker_stalled")["pid"] == worker
            assert next_event(server, "worker_ended")["signal"] == "SIGKILL"
        assert server.workers() != [worker]
        assert server.stop() == 0


@pytest.mark.parametrize("sign", [signal.SIGHUP, signal.SIGQUIT])
def test_other_signals_stop_the_service_cleanly(root: Path, folder: Path, tmp_path: Path, sign: int) -> None:
    """SIGHUP and SIGQUIT drain the service as SIGTERM does, and no temporary file is left."""
    before = signal.signal(sign, signal.SIG_DFL)  # under nohup the tests ignore SIGHUP, and the service would inherit that
    try:
        with running(root, models=folder / "1-grey.onnx", base={**environment(), "TMPDIR": str(tmp_path)}) as server:
            assert list(tmp_path.iterdir())
            assert server.stop(sign) == 0
    finally:
        signal.signal(sign, before)
    assert not list(tmp_path.iterdir())


def test_signals_of_log_rotation_are_ignored(root: Path, folder: Path) -> None:
    """SIGUSR1 and SIGUSR2 end neither the launcher nor a worker."""
    with running(root, models=folder / "1-grey.onnx") as server:
        (worker,) = server.workers()
        with unharmed(server):
            for pid in (server.process.pid, worker):
                os.kill(pid, signal.SIGUSR1)
                os.kill(pid, signal.SIGUSR2)
        assert server.workers() == [worker]
        assert server.stop() == 0


def test_two_services_on_one_port(root: Path, folder: Path) -> None:
    """F-27: of two services that start at the same moment on one port, one serves, and the other exits with one line."""
    port = free_port()
    services = [
        subprocess.Popen(
            [sys.executable, "-m", "serving"],
            cwd=root,
            env=environment(provider="cpu", port=port, models=folder / "1-grey.onnx", workers=1, drain_seconds=0),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        ended: list[subprocess.Popen[str]] = []
        wait_for(lambda: ended.append(next(s for s in services if s.poll() is not None)), errors=(StopIteration,))
        (serves,) = (service for service in services if service is not ended[0])
        assert ended[0].returncode == 1
        assert re.fullmatch(r"serving: cannot listen on 127\.0\.0\.1:\d+: .*\n", ended[0].communicate()[1])
        wait_for_workers(serves, port, 1)
        assert status(port, "/generate?seed=1") == 200
        serves.terminate()
        assert (serves.communicate(timeout=TIMEOUT)[1], serves.returncode) == ("", 0)
    finally:
        for service in services:
            service.kill()


def test_operations_have_a_port_of_their_own(root: Path, folder: Path) -> None:
    """S-23: with ``GAN_OPERATIONS_PORT`` the public port has no /metrics and no /admin, and the other port has everything;
    neither the public port's page nor its document leads there.
    """
    port, token = free_port(), "CANARY-0123456789"  # of this test
    headers = {"Authorization": f"Bearer {token}"}
    with running(root, models=folder / "1-grey.onnx", operations_port=port, admin_token=token) as server:
        assert server.get("/metrics")[0] == server.get("/admin")[0] == server.get("/admin/reload")[0] == 404
        assert server.get("/admin/reload", "POST", headers)[0] == 404
        assert server.get("/metrics", headers={"Host": f"127.0.0.1:{port}"})[0] == 404
        assert server.get("/generate?seed=1")[0] == server.get("/readyz")[0] == 200
        for path, method in (("/metrics", "GET"), ("/admin/reload", "POST"), ("/readyz", "GET"), ("/generate?seed=1", "GET")):
            assert ask(port, path, method, headers).status == 200
        for asked, has_operations in ((server.port, False), (port, True)):
            paths = json.loads(ask(asked, "/openapi.json").body)["paths"]
            assert ("/metrics" in paths, "/admin/reload" in paths) == (has_operations, has_operations)
            assert [b"/metrics" in ask(asked, path).body for path in ("/", "/docs")] == [has_operations] * 2
        assert server.stop() == 0


FAULTY = """# every inference raises the text of the file $FAULT while that file is there

import os
from pathlib import Path

import serving.model.runtime as runtime


class Session:
    def __init__(self, session):
        self._session = session

    def __getattr__(self, name):
        return getattr(self._session, name)

    def run(self, *arguments):
        fault = Path(os.environ["FAULT"])
        if fault.exists():
            raise RuntimeError(fault.read_text())
        return self._session.run(*arguments)


open_session = runtime.open_session
runtime.open_session = lambda *arguments, **options: Session(open_session(*arguments, **options))
"""


def test_too_little_memory_is_503_and_a_lost_context_ends_the_worker(root: Path, folder: Path, tmp_path: Path) -> None:
    """F-23: with CUDA out of memory a request is 503 and the next is answered; with a lost context it is 500, the worker is not
    ready, ends with its own exit code, and another one answers.
    """
    (tmp_path / "sitecustomize.py").write_text(FAULTY)
    fault = tmp_path / "fault"
    base = {**environment(), "PYTHONPATH": f"{tmp_path}:{root}", "FAULT": str(fault)}
    with running(root, models=folder / "1-grey.onnx", base=base, cache_bytes=0) as server:
        (worker,) = server.workers()
        with unharmed(server):
            fault.write_text("CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size)")
            answer = server.get("/generate?seed=1")
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert b'"code": "out_of_memory"' in answer.body
            fault.unlink()
            assert server.get("/generate?seed=1").status == 200
            fault.write_text(
                "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; expr=cudaStreamSynchronize(s)"
            )
            assert [server.get(path).status for path in ("/generate?seed=1", "/readyz", "/generate?seed=2")] == [500, 503, 500]
            fault.unlink()
            assert str(next_event(server, "lost")["reason"]).startswith("CUDA failure 700")
            ended = next_event(server, "worker_ended")
            assert (ended["pid"], ended["exit_code"]) == (worker, EXIT_CODE)
        assert server.workers() != [worker]
        assert server.stop() == 0


@contextmanager
def small_tmpdir(tmp_path: Path, kilobytes: int) -> Iterator[list[str]]:
    """A command prefix that gives a program a TMPDIR of that size, in a mount namespace of its own."""
    namespace = ["unshare", "--mount", "--propagation", "private"]
    mount = f"mount -t tmpfs -o size={kilobytes}k none {tmp_path}"
    if os.getuid() or subprocess.run([*namespace, "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs needs root")
    yield [*namespace, "sh", "-c", f'{mount} && exec env TMPDIR={tmp_path} "$@"', "sh"]


def test_a_full_temporary_directory_ends_no_worker(root: Path, folder: Path, tmp_path: Path) -> None:
    """F-18: when the file system of the metrics is full, requests of all kinds are answered by the same worker."""
    with (
        small_tmpdir(tmp_path, 512) as prefix,
        running(root, models=folder / "1-grey.onnx", prefix=prefix) as server,
        unharmed(server),
    ):
        workers = server.workers()
        fill = subprocess.run(["dd", "if=/dev/zero", f"of=/proc/{server.process.pid}/root{tmp_path}/fill"], check=False)
        assert fill.returncode == 1
        paths = ["generate?seed=1", "generate?seed=x", "nowhere", "models", "docs", "walk?from=1&to=2&frames=2", "readyz"]
        paths += ["mix?from=1&to=2", "models/grey", "openapi.json", "v2", "v2/health/live", "", "static/page.js", "metrics"]
        for path in [*paths, *paths]:
            assert server.get(f"/{path}")[0] in (200, 400, 404)
        assert server.workers() == workers


def test_a_temporary_directory_without_space_is_one_line(root: Path, folder: Path, tmp_path: Path) -> None:
    """F-16: without space for the metrics the service does not start."""
    with small_tmpdir(tmp_path, 64) as prefix:
        process, _ = launch(root, folder, *prefix)
        error = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 1
    assert error == "serving: cannot store metrics in a temporary directory (TMPDIR): No space left on device\n"


def test_too_few_descriptors_are_one_line(root: Path, folder: Path) -> None:
    """F-17: with 20 file descriptors the service does not start, instead of restarting its workers endlessly."""
    process, _ = launch(root, folder, "prlimit", "--nofile=20")
    error = process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 1
    assert error == "serving: the limit of open files (ulimit -n) must be at least 64, got 20\n"


def test_closed_standard_streams_do_not_stop_the_service(root: Path, folder: Path) -> None:
    """The service starts and stops with stdin, stdout and stderr closed."""
    closed = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"]
    with running(root, models=folder / "1-grey.onnx", prefix=closed) as server:
        with unharmed(server):
            assert server.get("/generate?seed=1")[0] == 200
        assert server.stop() == 0
