"""Settings: variables, ranges and error messages."""

from __future__ import annotations

import errno
import os
from dataclasses import fields
from pathlib import Path

import pytest

from serving.errors import SettingError
from serving.settings import Settings, from_environ, model_files, unknown_variables, worker_threads

WRONG = {
    "GAN_MODELS": ["", "a,,b"],
    "GAN_HOST": ["", "a b", "x\n", "a..b", ".a", 64 * "a", "localhost:80", 256 * ":"],
    "GAN_PORT": ["", "0", "65536", "8e3", " 80", "٨٠", "-1", "080"],
    "GAN_OPERATIONS_PORT": ["", "0", "65536", "none"],
    "GAN_WORKERS": ["0", "auto"],
    "GAN_THREADS": ["0", "1_000"],
    "GAN_INTRA_OP_THREADS": ["0"],
    "GAN_IDLE_THREADS": ["0", "1025"],
    "GAN_ENGINE": ["", "SHARED", "cuda"],
    "GAN_PROVIDER": ["", "CUDA", "gpu"],
    "GAN_MAX_BATCH": ["0", "4097"],
    "GAN_QUEUE_LIMIT": ["0", "1.5"],
    "GAN_MAX_IMAGES": ["0"],
    "GAN_MAX_BULK": ["0", "65537"],
    "GAN_MAX_FRAMES": ["1"],
    "GAN_MAX_SCALE": ["257"],
    "GAN_MAX_PIXELS": ["0"],
    "GAN_FAST_PATH": ["1", "ON", ""],
    "GAN_DEADLINE_SECONDS": ["0", "3601", "-1", "1e3"],
    "GAN_CACHE_BYTES": ["-1", "1.5", "1M"],
    "GAN_KEEP_MODELS": ["-1", "65"],
    "GAN_WATCH_SECONDS": ["-1", "86401"],
    "GAN_PUBLIC_KEY": [""],
    "GAN_SERIALS": [""],
    "GAN_DOWNGRADE": ["1", "ON", ""],
    "GAN_REQUEST_LOG": ["1", "ON", ""],
    "GAN_REQUEST_LOG_EVERY": ["0", "1000001", "1%"],
    "GAN_TRACING": ["1", "ON", "otlp"],
    "GAN_STALL_SECONDS": ["0", "x"],
    "GAN_BACKLOG": ["127"],
    "GAN_CLIENT_RATE": ["0", "-1", "all"],
    "GAN_TRUSTED_PROXIES": ["", "proxy.example", "10.0.0.0/33"],
    "GAN_CLIENT_SECONDS": ["0", "x"],
    "GAN_KEEP_ALIVE_SECONDS": ["0", "3601"],
    "GAN_DRAIN_SECONDS": ["-1", "601", "inf", "nan", "1e2"],
    "GAN_STOP_SECONDS": ["0"],
}


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_refused(variable: str, value: str) -> None:
    """The message names the variable, the value and the allowed values."""
    with pytest.raises(SettingError) as refusal:
        from_environ({variable: value})
    assert str(refusal.value).startswith(f"{variable} must be ")
    assert str(refusal.value).endswith(f", got {ascii(value)}")


def test_the_greatest_value_is_one_of_the_allowed() -> None:
    """The bound that a refusal names can be set: 2**40 bytes have thirteen digits."""
    assert from_environ({"GAN_CACHE_BYTES": str(2**40)}).cache_bytes == 2**40
    with pytest.raises(SettingError, match=f"0..{2**40}, got"):
        from_environ({"GAN_CACHE_BYTES": str(2**40 + 1)})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::ffff:10.0.0.1", "localhost", "a_b.example.", f"{63 * 'a'}.b-c"])
def test_names_and_addresses_are_hosts(host: str) -> None:
    """Names of any labels that a resolver takes, with a last dot or without, and addresses of both families."""
    assert from_environ({"GAN_HOST": host}).host == host


def test_bounds_are_written_as_values_are() -> None:
    """A bound has no exponent, which a value may not have either."""
    with pytest.raises(SettingError, match=r"samples a second 0\.001\.\.1000000, got"):
        from_environ({"GAN_CLIENT_RATE": "1e6"})


def test_the_two_ports_must_differ() -> None:
    """One port for both is refused as a setting, not as an address in use."""
    with pytest.raises(SettingError, match="GAN_OPERATIONS_PORT must be another port than GAN_PORT, got '8000'"):
        from_environ({"GAN_OPERATIONS_PORT": "8000"})


@pytest.mark.parametrize("given", [{"GAN_SERIALS": "/var/serials"}, {"GAN_DOWNGRADE": "on"}])
def test_serials_without_a_key_are_refused(given: dict[str, str]) -> None:
    """Who sets up signed models and leaves out the key would serve any file."""
    with pytest.raises(SettingError, match=f"^{next(iter(given))} needs GAN_PUBLIC_KEY: no signature is checked without it$"):
        from_environ(given)
    assert from_environ({**given, "GAN_PUBLIC_KEY": "key.pem"}).public_key == Path("key.pem")
    assert from_environ({"GAN_DOWNGRADE": "off"}).public_key is None


def test_a_misspelt_setting_is_named() -> None:
    """A variable that only looks like a setting is found, with the setting that was probably meant."""
    assert unknown_variables({"GAN_PUBLICKEY": "x", "GAN_PORT": "1", "GAN_X_PORT_80_TCP": "x", "PATH": "x"}) == {
        "GAN_PUBLICKEY": "GAN_PUBLIC_KEY",
        "GAN_X_PORT_80_TCP": None,
    }


def test_every_setting_has_a_variable() -> None:
    """Each field of the settings is a variable, and has an invalid value in this test."""
    assert {f"GAN_{field.name.upper()}" for field in fields(Settings)} == {*WRONG, "GAN_ADMIN_TOKEN"}


@pytest.mark.parametrize("token", ["", "short", "x" * 257, "with a space in it", "t\u00f6ken-of-many-letters"])
def test_a_wrong_token_is_refused_and_never_shown(token: str) -> None:
    """S-04: neither the message nor the repr of the settings contains the token."""
    with pytest.raises(SettingError) as refusal:
        from_environ({"GAN_ADMIN_TOKEN": token})
    assert str(refusal.value) == f"GAN_ADMIN_TOKEN must be 16 to 256 visible ASCII characters, got {len(token)} characters"
    assert "0123456789abcdef" not in repr(from_environ({"GAN_ADMIN_TOKEN": "0123456789abcdef"}))


def test_an_empty_environment_is_the_defaults() -> None:
    """An empty environment gives the defaults; variables without the prefix are ignored."""
    assert from_environ({"PATH": "/bin", "PORT": "1"}) == Settings()


def test_values_are_read() -> None:
    """Values are converted to their types."""
    environ = {
        "GAN_MODELS": "a.onnx, b",
        "GAN_PORT": "9000",
        "GAN_FAST_PATH": "off",
        "GAN_DRAIN_SECONDS": "0.5",
        "GAN_PROVIDER": "cpu",
    }
    assert from_environ(environ) == Settings(
        models=("a.onnx", "b"), port=9000, fast_path=False, drain_seconds=0.5, provider="cpu"
    )


def test_folders_are_resolved_in_order(tmp_path: Path) -> None:
    """A folder is expanded to its .onnx files by name; the order is that of the setting."""
    for name in ("b.onnx", "a.onnx", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "first.onnx").touch()
    settings = Settings(models=(str(tmp_path / "other" / "first.onnx"), str(tmp_path)))
    assert [path.name for path in model_files(settings)] == ["first.onnx", "a.onnx", "b.onnx"]


@pytest.mark.parametrize("name", ["missing", "missing.onnx", "empty"])
def test_a_path_without_a_model_is_refused(tmp_path: Path, name: str) -> None:
    """A missing path, or a folder without a model, is refused by its name."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingError, match=f"GAN_MODELS must name .*{name}"):
        model_files(Settings(models=(str(tmp_path / name),)))


def test_threads_exceed_a_batch_and_a_queue() -> None:
    """A worker has threads for a full batch, a full queue and pictures to decode, and some for refusals and health checks."""
    assert worker_threads(Settings(max_batch=64, queue_limit=128)) == 272
    assert worker_threads(Settings(threads=5)) == 5


def test_a_path_that_may_not_be_looked_at_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that the file system refuses, and a folder that this user may not enter, are one line with the reason."""
    with pytest.raises(SettingError, match="GAN_MODELS must name .* with File name too long"):
        model_files(Settings(models=(300 * "x",)))

    def refuse(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)  # as Python does for others than root
    with pytest.raises(SettingError, match="GAN_MODELS must name .* with Permission denied"):
        model_files(Settings(models=(str(tmp_path / "shut" / "model.onnx"),)))
