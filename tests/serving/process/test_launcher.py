"""What the launcher decides before it starts a process."""

from __future__ import annotations

import pytest

from serving.errors import SettingError
from serving.process.launcher import local_url
from serving.process.resolve import choose_engine
from serving.settings import Engine, Provider


@pytest.mark.parametrize(
    ("address", "url"),
    [("127.0.0.1", "http://127.0.0.1:8000"), ("0.0.0.0", "http://127.0.0.1:8000"), ("::", "http://[::1]:8000")],
)
def test_the_url_of_the_start_event_can_be_opened(address: str, url: str) -> None:
    """A wildcard address becomes loopback; an IPv6 address is in brackets."""
    assert local_url(address, 8000) == url


@pytest.mark.parametrize(
    ("asked", "provider", "machine", "engine"),
    [
        (None, "cpu", "x86_64", "worker"),
        (None, "cuda", "x86_64", "shared"),
        (None, "cuda", "aarch64", "worker"),
        ("worker", "cuda", "x86_64", "worker"),
        ("shared", "cpu", "x86_64", "shared"),
    ],
)
def test_the_engine_is_shared_on_cuda(asked: Engine | None, provider: Provider, machine: str, engine: str) -> None:
    """What was asked for is used; else the engine is shared on CUDA, where the processor allows it."""
    assert choose_engine(asked, provider, machine) == engine


def test_a_processor_that_cannot_share_is_named() -> None:
    """The shared engine is refused where stores may be seen out of order."""
    with pytest.raises(SettingError, match="GAN_ENGINE must be worker on aarch64, got 'shared'"):
        choose_engine("shared", "cpu", "aarch64")
