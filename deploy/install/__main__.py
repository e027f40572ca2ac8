"""Install extras of pyproject.toml at the versions of constraints.txt, only from archives whose SHA-256 this folder lists.

pip chooses the packages: torch needs others where the package index has its build for CUDA than where it has the one for CPUs.
It then installs what it has chosen with ``--require-hashes``. This runs first, so it needs the standard library alone.
"""

from __future__ import annotations

import compileall
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
PIP = (sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary", ":all:")
"""Wheels only: to find out what a source archive needs, pip would run it before its digest is checked."""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Install the extras named by the one argument, joined by commas, in this Python's environment; the exit code."""
    project = tomllib.loads(Path("pyproject.toml").read_text())
    needs = [*requirements(project["project"], arguments[0].split(",")), *project["build-system"]["requires"]]
    command = [*PIP, "-c", "constraints.txt", *needs]
    if environ.get("HASHES") == "off":
        return _compiled(subprocess.run(command, check=False).returncode)
    with tempfile.TemporaryDirectory(prefix="gan-install-") as folder:
        report, lock = Path(folder) / "report.json", Path(folder) / "lock.txt"
        choice = subprocess.run([*command, "--dry-run", "--report", str(report)], check=False)
        if choice.returncode:
            return choice.returncode
        chosen = [item["metadata"] for item in json.loads(report.read_text())["install"]]
        if not chosen:
            return 0
        known = digests((HERE / name).read_text() for name in ("hashes.txt", "torch-cpu.txt"))
        lock.write_text("".join(locked(package["name"], package["version"], known) for package in chosen))
        code = subprocess.run([*PIP, "--no-deps", "--require-hashes", "-r", str(lock)], check=False).returncode
    if code:
        print("Nothing was installed. HASHES=off takes wheels of your own, or an index with other builds.", file=sys.stderr)
    return _compiled(code)


def _compiled(code: int) -> int:
    """The exit code of pip; where that is 0, all modules are compiled by all cores, which pip does by one."""
    if code == 0:
        compileall.compile_dir(sysconfig.get_path("purelib"), quiet=2, workers=0)
    return code


def requirements(project: Mapping[str, object], extras: Sequence[str]) -> Iterator[str]:
    """What the project needs with these extras; an extra that names others of the project is followed."""
    optional: Mapping[str, Sequence[str]] = project["optional-dependencies"]  # type: ignore[assignment]
    yield from project["dependencies"]  # type: ignore[misc]
    for extra in extras:
        for need in optional[extra]:
            own = re.fullmatch(rf"{project['name']}\[(.+)\]", need)
            yield from requirements({**project, "dependencies": []}, own[1].split(",")) if own else [need]


def digests(texts: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    """The archives' SHA-256 by canonical name and version, from files as ``uv pip compile --generate-hashes`` writes them."""
    found: dict[tuple[str, str], list[str]] = {}
    for text in texts:
        for name, version, listed in re.findall(r"^([\w.-]+)==([^\s;]+)[^\n]*((?:\n +--hash=\S+[^\n]*)+)", text, re.MULTILINE):
            found[canonical(name), version] = re.findall(r"--hash=(sha256:\w{64})", listed)
    return found


def locked(name: str, version: str, known: Mapping[tuple[str, str], Sequence[str]]) -> str:
    """The line of a requirements file that allows the known archives of a package; none matches one without a digest."""
    version = version.removeprefix("v")  # some wheels state it so
    listed = known.get((canonical(name), version), ["sha256:" + 64 * "0"])
    return f"{name}=={version} {' '.join(f'--hash={digest}' for digest in listed)}\n"


def canonical(name: str) -> str:
    """A package's name as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
