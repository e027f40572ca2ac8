"""What the launcher decides before it starts a process."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from serving.errors import SettingError
from serving.process.launcher import local_url, make_metrics_directory
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


def test_what_a_killed_launcher_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory of metrics is deleted at the next start; one in use, and those of other programs, stay."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    others = [tmp_path / "gan-metrics-other", tmp_path / "gan-metrics-link", tmp_path / "kept"]
    for place in (others[0], others[2]):
        place.mkdir()
    (others[2] / "launcher.lock").touch()
    others[1].symlink_to(others[2])
    used, owned = make_metrics_directory(1)
    killed = tmp_path / "gan-metrics-killed"
    shutil.copytree(used.name, killed)
    new, owned_too = make_metrics_directory(1)
    with used, owned, new, owned_too:
        assert sorted(tmp_path.iterdir()) == sorted([Path(used.name), Path(new.name), *others])
        assert (others[2] / "launcher.lock").exists()
    assert sorted(tmp_path.iterdir()) == sorted(others)
