"""``python -m deploy.torchserve``: build an archive of a model, verify archives, serve them by TorchServe."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.torchserve.build import build
from deploy.torchserve.contents import HERE
from deploy.torchserve.errors import DeployError
from deploy.torchserve.launch import serve
from deploy.torchserve.verify import verify_file
from serving.errors import StartError


def main(arguments: list[str]) -> int:
    """Run one command; its exit code."""
    parsed = parse(arguments)
    try:
        if parsed.command == "build":
            path, archive = build(parsed.model, parsed.out or parsed.model.parent)
            print(f"{path}: model {archive.name}, SHA-256 {archive.digest}")
        elif parsed.command == "verify":
            for path in parsed.archives:
                archive = verify_file(path, parsed.digest)
                print(f"{path}: model {archive.name}, SHA-256 {archive.digest}, code of this version, nothing else")
        else:
            serve(parsed.archives, parsed.folder, parsed.config)
    except (DeployError, StartError) as error:
        print(f"torchserve: {error}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line; a wrong one ends the program with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m deploy.torchserve", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="write NAME.mar, NAME being the model's own name")
    building.add_argument("model", type=Path)
    building.add_argument("--out", type=Path, help="folder; without it the model's own")
    verifying = commands.add_parser("verify", help="say whether archives are what this version builds")
    verifying.add_argument("archives", type=Path, nargs="+", metavar="archive")
    verifying.add_argument("--digest", help="what the model's SHA-256 must be")
    serving = commands.add_parser("serve", help="verify archives and serve them until told to end")
    serving.add_argument("archives", type=Path, nargs="+", metavar="archive")
    serving.add_argument("--folder", type=Path, required=True, help="for key_file.json and logs")
    serving.add_argument("--config", type=Path, default=HERE / "config.properties", help="TorchServe's")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
