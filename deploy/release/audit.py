"""Known holes in what is installed, by pip-audit where it is there and reaches its advisories; else it says that it did not."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from deploy.release.processes import run


class Vulnerable(Exception):
    """Packages have known holes; the message names them."""


def audit(requirements: Path) -> str:
    """One line on what was found about hashed requirements.

    Raises:
        Vulnerable: something was.
    """
    program = shutil.which(
        "pip-audit", path=os.pathsep.join([os.fspath(Path(sys.executable).parent), os.environ.get("PATH", "")])
    )
    if program is None:
        return "not audited: pip-audit is not installed"
    command = [program, "--strict", "--disable-pip", "--require-hashes", "--progress-spinner", "off", "-f", "json", "-r"]
    done = run([*command, str(requirements)])
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return f"not audited: {(done.stderr.strip() or 'pip-audit said nothing').splitlines()[-1]}"
    holes = [f"{package['name']} {package['version']}: {hole['id']}" for package in packages for hole in package["vulns"]]
    if holes:
        raise Vulnerable(f"known holes: {', '.join(holes)}")
    return f"audited: no known hole in {len(packages)} packages"
