"""Even load: who receives a new connection, and that none is lost on its way."""

from __future__ import annotations

import asyncio
import contextlib
import math
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from serving.http.balance import MOST_HOPS, Balance
from serving.process.shared_memory import ConnectionCounts
from tests.harness.processes import TIMEOUT, wait_for
from tests.harness.service import Server, running

WORKERS = 3


class Keeping(asyncio.Protocol):
    """A worker's protocol without HTTP: offers its connection, or keeps it and says whose it is."""

    def __init__(self, worker: Worker, hops: int) -> None:
        self._worker, self._hops = worker, hops

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if not self._worker.balance.offer(transport, self._hops):
            self._worker.hops.append(self._hops)
            self._worker.balance.hold(len(self._worker.hops))
            transport.write(f"{self._worker.index}".encode())


class Worker:
    """One worker's balance and the connections that it kept."""

    def __init__(self, shared: Sharing, index: int) -> None:
        self.index = index
        self.hops: list[int] = []
        """Of each connection that it kept, how often it was handed over."""
        outboxes = [outbox for _, outbox in shared.boxes]
        self.balance = Balance(
            *shared.counts, index, shared.boxes[index][0], outboxes, shared.folder / "lock", lambda: shared.is_draining
        )

    def make(self, hops: int = 0) -> Keeping:
        return Keeping(self, hops)


class Sharing:
    """What the workers share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.counts = ConnectionCounts.of(WORKERS)
        self.boxes = [socket.socketpair(type=socket.SOCK_SEQPACKET) for _ in range(WORKERS)]
        self.is_draining = False
        self.workers = [Worker(self, index) for index in range(WORKERS)]

    def begin(self, *indices: int) -> None:
        for index in indices:
            self.workers[index].balance.begin(self.workers[index].make)


@pytest.fixture
def sharing(tmp_path: Path) -> Iterator[Sharing]:
    """Three workers that take no connections yet."""
    shared = Sharing(tmp_path)
    yield shared
    for box in shared.boxes:
        for end in box:
            end.close()


@contextlib.asynccontextmanager
async def listening(worker: Worker) -> AsyncIterator[Callable[[], Coroutine[Any, Any, int]]]:
    """A client of that worker: connects to it and gives the index of the worker that answers."""
    server = await asyncio.get_running_loop().create_server(worker.make, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opened = []

    async def connect() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        opened.append(writer)
        return int(await reader.readexactly(1))

    try:
        yield connect
    finally:
        for writer in opened:
            writer.close()
        server.close()


def answering(sharing: Sharing, count: int, *, at: int = 0) -> list[int]:
    """The workers that answer ``count`` connections, one after the other, all of them accepted by worker ``at``."""

    async def ask() -> list[int]:
        sharing.begin(*range(WORKERS))
        async with listening(sharing.workers[at]) as connect:
            return [await connect() for _ in range(count)]

    return asyncio.run(ask())


def test_connections_of_one_listener_go_to_all_workers(sharing: Sharing) -> None:
    """Nine connections that the kernel gave to one of three workers are three each, and a connection moves once."""
    answers = answering(sharing, 9)
    assert sorted(answers) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert answers[0] == 0, "the first one stays where it is"
    assert {hops for worker in sharing.workers for hops in worker.hops} == {0, 1}


@pytest.mark.parametrize(("others", "receiver"), [(99, 0), (89, 0), (88, 1)])
def test_of_many_connections_small_differences_stay(sharing: Sharing, others: int, receiver: int) -> None:
    """With a hundred connections a worker keeps the next one unless another worker has an eighth less."""

    async def ask() -> int:
        sharing.begin(*range(WORKERS))
        sharing.workers[0].balance.hold(100)
        for index in (1, 2):
            sharing.counts.held[index] = others
        async with listening(sharing.workers[0]) as connect:
            return await connect()

    assert asyncio.run(ask()) == receiver


def test_a_worker_that_takes_none_gets_none(sharing: Sharing) -> None:
    """A worker that has not begun, or has ended, is not chosen."""

    async def ask() -> list[int]:
        sharing.begin(0, 1, 2)
        sharing.workers[2].balance.end(sharing.workers[2].make)
        async with listening(sharing.workers[0]) as connect:
            return [await connect() for _ in range(6)]

    assert sorted(asyncio.run(ask())) == [0, 0, 0, 1, 1, 1]


def test_nothing_moves_while_the_service_stops(sharing: Sharing) -> None:
    """A worker that was stopped may not look into its inbox again."""
    sharing.is_draining = True
    assert set(answering(sharing, 6)) == {0}


def test_what_is_in_the_inbox_of_a_worker_that_ends_is_answered(sharing: Sharing) -> None:
    """A connection that was handed over while its new worker began to stop is not lost."""

    async def ask() -> bytes:
        worker = sharing.workers[1]
        worker.balance.begin(worker.make)
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours:
            with theirs:
                socket.send_fds(sharing.boxes[1][1], [b"\1"], [theirs.fileno()])
            sharing.is_draining = True
            worker.balance.end(worker.make)
            async with asyncio.timeout(TIMEOUT):
                return await asyncio.get_running_loop().sock_recv(ours, 1)

    assert asyncio.run(ask()) == b"1"


def test_a_full_inbox_is_left_alone(sharing: Sharing) -> None:
    """The connection stays, and nothing is counted as on its way."""
    for _, outbox in sharing.boxes[1:]:
        with contextlib.suppress(BlockingIOError):
            while True:
                outbox.send(b"\0")
    for index in (1, 2):
        sharing.counts.held[index] = 0  # they take connections, and do not look into their inboxes

    async def ask() -> list[int]:
        sharing.workers[0].balance.begin(sharing.workers[0].make)
        async with listening(sharing.workers[0]) as connect:
            return [await connect() for _ in range(3)]

    assert asyncio.run(ask()) == [0, 0, 0]
    assert sum(sharing.counts.given) == 0


def test_a_connection_for_which_there_was_no_descriptor_is_not_on_its_way(sharing: Sharing) -> None:
    """A worker at its limit of open files loses a connection in its inbox; later it takes as many as others."""

    async def ask() -> list[int]:
        sharing.begin(*range(WORKERS))
        for _ in range(5):
            sharing.counts.given[1] += 1  # by worker 0 to worker 1
            sharing.boxes[1][1].send(b"\1")  # what the kernel leaves of a message whose descriptor finds no number
        async with listening(sharing.workers[1]) as connect:
            return [await connect() for _ in range(3)]

    assert sorted(asyncio.run(ask())) == [0, 1, 2]


def test_a_connection_stops_after_some_moves(sharing: Sharing) -> None:
    """Two workers that see old numbers do not hand one connection to and fro without end."""

    async def ask() -> int:
        worker = sharing.workers[0]
        worker.balance.begin(worker.make)
        worker.balance.hold(9)
        for index in (1, 2):
            sharing.counts.held[index] = 0
        ours, theirs = socket.socketpair()
        with ours:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: worker.make(MOST_HOPS), theirs)
            return int((await asyncio.get_running_loop().sock_recv(ours, 1)).decode())

    assert asyncio.run(ask()) == 0


def test_a_connection_to_a_crashed_worker_waits_for_its_successor(sharing: Sharing) -> None:
    """It stays in the inbox, which the launcher keeps open, and is answered by the worker that has the place next."""

    async def ask() -> int:
        sharing.workers[0].balance.begin(sharing.workers[0].make)
        sharing.workers[0].balance.hold(5)
        sharing.counts.held[1] = 0  # worker 1 crashes after this
        async with listening(sharing.workers[0]) as connect:
            waiting = asyncio.ensure_future(connect())
            while not sum(sharing.counts.given):
                await asyncio.sleep(0)
            sharing.counts.forget(1)
            assert math.isinf(sharing.counts.held[1])
            successor = Worker(sharing, 1)
            successor.balance.begin(successor.make)
            answer: int = await waiting
            assert successor.hops == [1]
            return answer

    assert asyncio.run(ask()) == 1
    assert sharing.counts.held[1] == 1


def connections(server: Server) -> list[int]:
    """How many connections each worker has, by the kernel."""
    tables = [psutil.Process(pid).net_connections("tcp") for pid in server.workers()]
    return [sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == server.port for c in table) for table in tables]


@pytest.mark.process
def test_workers_have_equally_many_connections(root: Path, folder: Path) -> None:
    """Of sixteen connections to five workers each has three or four, all are answered, and those after a worker was killed."""
    with running(root, models=folder / "1-grey.onnx", workers=5, request_log="off") as server:
        # A worker listens before it takes connections.
        wait_for(lambda: assert_even(server), server.process, errors=(AssertionError,))
        killed = psutil.Process(server.workers()[0])
        killed.send_signal(signal.SIGKILL)
        wait_for(lambda: is_gone(killed), errors=(AssertionError,))
        assert {server.get("/generate?seed=1").status for _ in range(10)} == {200}


def is_gone(process: psutil.Process) -> None:
    """A zombie may have threads that keep its sockets."""
    assert not process.is_running()


def assert_even(server: Server) -> None:
    assert connections(server) == [0] * 5
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(16)]
        for client in clients:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert all(client.recv(15) == b"HTTP/1.1 200 OK" for client in clients)
        assert sorted(connections(server)) == [3, 3, 3, 3, 4]
