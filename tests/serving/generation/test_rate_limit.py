"""One client's bucket: by address, refused when it is empty, bounded in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.errors import QueueFull, RateLimited
from serving.generation import rate_limit as token_bucket
from serving.generation.generate import RequestHeaders, Service, generate
from serving.generation.rate_limit import TokenBucket
from serving.generation.service import answer
from serving.oip.requests import Inference
from serving.oip.routes import infer
from tests.harness.service import running


class Clock:
    """A clock that stands."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def admitted(bucket: TokenBucket, client: str, count: int) -> int:
    """How many of a number of requests for one row are admitted."""
    done = 0
    for _ in range(count):
        try:
            bucket.acquire(client, 1)
            done += 1
        except RateLimited:
            pass
    return done


def test_who_asks_for_ten_times_the_share_gets_the_share() -> None:
    """O-04: at ten times the rate a client is admitted its burst and its rate; one at half the rate loses nothing."""
    clock = Clock()
    bucket = TokenBucket(10, burst=20, clock=clock)
    greedy = modest = 0
    for _ in range(1000):
        clock.now += 0.1
        greedy += admitted(bucket, "greedy", 10)
    for step in range(1000):
        clock.now += 0.1
        modest += admitted(bucket, "modest", 1) if step % 2 else 0
    assert greedy == 20 + 999
    assert modest == 500


@pytest.mark.parametrize(
    "addresses",
    [
        [f"2001:db8::1:{number:x}" for number in range(100)],
        ["::ffff:192.0.2.1", "::ffff:c000:201", "192.0.2.1"],
        ["fe80::1%eth0", "fe80::2%eth1"],
    ],
    ids=["addresses of one network", "IPv4 as IPv6", "with a scope"],
)
def test_a_client_with_many_addresses_has_one_bucket(addresses: list[str]) -> None:
    """O-04: a host that has 2^64 IPv6 addresses has one share, and other networks have theirs."""
    bucket = TokenBucket(10, burst=20, clock=Clock())
    assert sum(admitted(bucket, address, 50) for address in addresses) == 20
    assert len(bucket) == 1
    assert admitted(bucket, "2001:db8:0:1::1", 50) == 20


def test_a_large_request_is_paid_off() -> None:
    """A request for more than the burst is admitted once, and says when the next one may come."""
    clock = Clock()
    bucket = TokenBucket(10, burst=20, clock=clock)
    bucket.acquire("a", 100)
    with pytest.raises(RateLimited) as refusal:
        bucket.acquire("a", 1)
    assert refusal.value.headers == {"Retry-After": "8"}
    clock.now += 8.01
    bucket.acquire("a", 1)


def test_clients_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """S-06: the number of remembered addresses is bounded."""
    monkeypatch.setattr(token_bucket, "MAX_CLIENTS", 100)
    bucket = TokenBucket(10, burst=20, clock=Clock())
    for client in range(10_000):
        bucket.acquire(str(client), 1)
    assert len(bucket) == 100


def test_without_a_rate_nobody_is_counted() -> None:
    """The default admits everything and remembers no client; so does a rate for a client without an address."""
    bucket = TokenBucket(None, burst=0)
    assert admitted(bucket, "a", 100) == 100
    assert len(bucket) == 0
    TokenBucket(1, burst=1).acquire(None, 100)


def test_what_need_not_be_computed_costs_nothing(make_service: Callable[..., Service]) -> None:
    """Kept answers, 304 and HEAD are answered to a client whose share is used up; a new sample is 429, and counted."""
    service = make_service(client_rate=0.001, cache_bytes=2**20)

    def status(query: str, **request_headers: object) -> int:
        asked = answer(service, lambda event, **facts: None, query, RequestHeaders(client="10.0.0.1", **request_headers))  # type: ignore[arg-type]
        reply = service.portal.run(asked)
        if reply.status == 429:
            assert json.loads(reply.body)["code"] == "rate_limited"
            assert int(dict(reply.headers)["Retry-After"]) >= 1
        return reply.status

    assert status("seed=1") == 200
    assert status("seed=2") == 429
    assert [status("seed=1"), status("seed=2", is_head=True)] == [200, 200]
    assert service.metrics.registry.get_sample_value("gan_rejected_total", {"reason": "rate_limited"}) == 1


def test_what_the_queue_refuses_costs_nothing(make_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample or an inference that finds no room is not charged to its client."""
    service = make_service(client_rate=1.0)
    entry = service.registry["grey"]
    monkeypatch.setattr(entry.batcher.backend, "room", lambda: -service.settings.queue_limit)
    asked = RequestHeaders(client="10.0.0.1")
    with pytest.raises(QueueFull):
        service.portal.run(generate(service, "model=grey&seed=1", asked))
    with pytest.raises(QueueFull):
        service.portal.run(infer(service, entry, Inference(sources=[1]), asked))
    assert len(service.token_bucket) == 0


@pytest.mark.process
def test_a_forged_address_is_not_believed(root: Path, folder: Path) -> None:
    """S-07: ``X-Forwarded-For`` is believed of a trusted proxy only."""
    models = folder / "1-grey.onnx"
    with running(root, models=models, client_rate=0.01) as server:
        answers = [server.get(f"/generate?seed={n}", headers={"X-Forwarded-For": f"10.0.0.{n}"})[0] for n in range(4)]
        assert answers == [200, 429, 429, 429]
    with running(root, models=models, client_rate=0.01, trusted_proxies="127.0.0.0/8") as server:
        answers = [server.get(f"/generate?seed={n}", headers={"X-Forwarded-For": f"10.0.0.{n % 2}"})[0] for n in range(4)]
        assert answers == [200, 200, 429, 429]
        assert server.get("/mix?a=1&b=2&t=.5", headers={"X-Forwarded-For": "10.0.0.1"})[0] == 429
