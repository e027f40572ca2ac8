"""TorchServe as a child process, with archives that were built for it in a private model store."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from deploy.torchserve.build import NEEDS, DeployError, build
from deploy.torchserve.contents import HERE
from deploy.torchserve.folder import held


def why_not() -> str | None:
    """Return what TorchServe needs and this machine lacks, or None."""
    if importlib.util.find_spec("ts") is None:
        return f"torchserve is not installed; {NEEDS}"
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        return "there is no Java; install version 17 (Debian: openjdk-17-jre-headless)"
    return None


def serve(models: Sequence[Path], folder: Path, config: Path) -> None:
    """Pack models and run TorchServe until SIGTERM or SIGINT.

    Args:
        models: model files, each served under its model's name.
        folder: for ``key_file.json`` and the logs; made, or its owner's only.
        config: TorchServe's configuration file.

    Raises:
        StartError: a model is refused.
        DeployError: TorchServe cannot start here, two models have one name, the folder is not for it, or it ends by itself.
        OSError: the folder cannot be made.
    """
    reason = why_not()
    if reason:
        raise DeployError(reason)
    # Sockets to the workers lie under TEMP, and a socket's path is limited to 108 bytes.
    with TemporaryDirectory(prefix="torchserve-", ignore_cleanup_errors=True) as temporary:
        work = Path(temporary)
        for part in ("store", "workflows", "tmp"):
            (work / part).mkdir()
        names = _build_all(models, work / "store")
        with held(folder):
            _run(command_for(work, config, names), folder, work)


def _build_all(models: Sequence[Path], store: Path) -> list[str]:
    """Pack models into one folder; their names.

    Raises:
        StartError: a model is refused.
        DeployError: two have one name, by which a request could mean either.
    """
    names: list[str] = []
    for path in models:
        name = build(path, store).name
        if name in names:
            raise DeployError(f"{path}: another model has the name {name!r}")
        names.append(name)
    return names


def command_for(work: Path, config: Path, names: Sequence[str]) -> list[str]:
    """The command line that runs TorchServe in the foreground; it repeats no line of the configuration file."""
    server = [sys.executable, "-m", "ts.model_server", "--start", "--foreground", "--no-config-snapshots"]
    configs = ["--ts-config", str(config.resolve()), "--log-config", str(HERE / "log4j2.xml")]
    stores = ["--model-store", str(work / "store"), "--workflow-store", str(work / "workflows")]
    return [*server, *configs, *stores, "--models", *(f"{name}={name}.mar" for name in names)]


def environment_for(folder: Path, work: Path) -> dict[str, str]:
    """This process's environment without TS_* and PYTHON* variables, which would replace the configuration or the code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TS_", "PYTHON"))}
    temporary = str(work / "tmp")
    return kept | {
        "TEMP": temporary,
        "TMPDIR": temporary,
        "LOG_LOCATION": str(folder),
        "METRICS_LOCATION": str(folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "OMP_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }


def _run(command: Sequence[str], folder: Path, work: Path) -> None:
    """Run the command in its own process group and end that group; a second signal kills it at once."""
    signals: list[int] = []
    started: list[subprocess.Popen[bytes]] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        signals.append(number)
        for process in started:
            _end(process, work, is_graceful=len(signals) == 1)

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        process = subprocess.Popen(command, cwd=folder, env=environment_for(folder, work), start_new_session=True)
        started.append(process)
        if signals:  # a signal that came between the two lines above
            _end(process, work, is_graceful=False)
        process.wait()
    finally:
        for process in started:
            _end(process, work, is_graceful=False)  # workers that outlived their server
        for number, handler in before.items():
            signal.signal(number, handler)
    if not signals:
        raise DeployError("TorchServe ended by itself; the lines above say why")


def _end(process: subprocess.Popen[bytes], work: Path, *, is_graceful: bool) -> None:
    """Send Java SIGTERM, so that it answers the requests it has accepted, or kill the whole process group."""
    with suppress(ProcessLookupError):
        try:
            java = int((work / "tmp" / ".model_server.pid").read_text()) if is_graceful else None
        except (OSError, ValueError):  # Java has not started yet
            java = None
        if java:
            os.kill(java, signal.SIGTERM)
        else:
            os.killpg(process.pid, signal.SIGKILL)
