"""TorchServe as a child process, with verified archives in a store of its own."""

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

from deploy.torchserve.build import NEEDS
from deploy.torchserve.contents import HERE
from deploy.torchserve.errors import DeployError
from deploy.torchserve.verify import verify_file


def why_not() -> str | None:
    """What is missing here for TorchServe to start; None if nothing is."""
    if importlib.util.find_spec("ts") is None:
        return f"torchserve is not installed; {NEEDS}"
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        return "there is no Java; install version 17 (Debian: openjdk-17-jre-headless)"
    return None


def serve(archives: Sequence[Path], folder: Path, config: Path) -> None:
    """Run TorchServe until it is told to end.

    Args:
        archives: what is served, each under its model's name.
        folder: where ``key_file.json`` and the logs are; nobody else can read it.
        config: TorchServe's.

    Raises:
        DeployError: an archive is refused, TorchServe cannot start here, or it ends by itself.
    """
    reason = why_not()
    if reason:
        raise DeployError(reason)
    verified = [verify_file(path) for path in archives]
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    # Sockets to the workers lie under TEMP, and the name of a socket must be short.
    with TemporaryDirectory(prefix="torchserve-", ignore_cleanup_errors=True) as place:
        for part in ("store", "workflows", "tmp"):
            Path(place, part).mkdir()
        for archive in verified:  # what was verified is what is served, whatever becomes of the file
            Path(place, "store", f"{archive.name}.mar").write_bytes(archive.data)
        try:
            _run(command_for(Path(place), config, [archive.name for archive in verified]), folder, Path(place))
        finally:
            (folder / "key_file.json").unlink(missing_ok=True)


def command_for(place: Path, config: Path, names: Sequence[str]) -> list[str]:
    """TorchServe in the foreground; the command line repeats nothing that the configuration says."""
    return [
        sys.executable,
        "-m",
        "ts.model_server",
        "--start",
        "--foreground",
        "--no-config-snapshots",
        "--ts-config",
        str(config.resolve()),
        "--log-config",
        str(HERE / "log4j2.xml"),
        "--model-store",
        str(place / "store"),
        "--workflow-store",
        str(place / "workflows"),
        "--models",
        *(f"{name}={name}.mar" for name in names),
    ]


def environment_for(folder: Path, place: Path) -> dict[str, str]:
    """This process's environment, without what would put other code or another configuration in front."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TS_", "PYTHON"))}
    temporary = str(place / "tmp")
    return kept | {
        "TEMP": temporary,
        "TMPDIR": temporary,
        "LOG_LOCATION": str(folder),
        "METRICS_LOCATION": str(folder),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "OMP_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
    }


def _run(command: Sequence[str], folder: Path, place: Path) -> None:
    """The command in a process group of its own, which ends with this function; a second signal does not wait for it."""
    told: list[int] = []
    started: list[subprocess.Popen[bytes]] = []

    def end(number: int, _frame: FrameType | None) -> None:
        told.append(number)
        for process in started:
            _end(process, place, is_patient=len(told) == 1)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        process = subprocess.Popen(command, cwd=folder, env=environment_for(folder, place), start_new_session=True)
        started.append(process)
        if told:  # between the two lines above
            _end(process, place, is_patient=False)
        process.wait()
    finally:
        for process in started:
            _end(process, place, is_patient=False)  # workers that outlived their server
        for number, handler in before.items():
            signal.signal(number, handler)
    if not told:
        raise DeployError("TorchServe ended by itself; the lines above say why")


def _end(process: subprocess.Popen[bytes], place: Path, *, is_patient: bool) -> None:
    """Tell Java to end, which answers what it has begun, or end the whole group at once."""
    with suppress(ProcessLookupError):
        try:
            java = int((place / "tmp" / ".model_server.pid").read_text()) if is_patient else None
        except (OSError, ValueError):  # it has not been started yet
            java = None
        if java:
            os.kill(java, signal.SIGTERM)
        else:
            os.killpg(process.pid, signal.SIGKILL)
