"""Pack a model for TorchServe, or serve models by TorchServe."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deploy.torchserve.build import DeployError, build
from deploy.torchserve.contents import HERE
from deploy.torchserve.launch import serve
from serving.errors import StartError


def main(arguments: list[str]) -> int:
    """Run one command; return its exit code."""
    parsed = parse(arguments)
    try:
        if parsed.command == "build":
            archive = build(parsed.model, parsed.out or parsed.model.parent)
            print(f"{archive.path}: model {archive.name}, SHA-256 {archive.digest}")
        else:
            serve(parsed.models, parsed.folder, parsed.config)
    except (DeployError, StartError) as error:
        print(f"torchserve: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # of a folder that cannot be made or written
        print(f"torchserve: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 1
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line; a wrong one ends the program with exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m deploy.torchserve", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    building = commands.add_parser("build", help="write NAME.mar, where NAME is the model's name")
    building.add_argument("model", type=Path, help="model file (.onnx)")
    building.add_argument("--out", type=Path, help="output folder (default: the model's folder)")
    serving = commands.add_parser("serve", help="pack models and serve them until SIGTERM or Ctrl-C")
    serving.add_argument("models", type=Path, nargs="+", metavar="model", help="model file (.onnx)")
    serving.add_argument("--folder", type=Path, required=True, help="folder for key_file.json and logs")
    serving.add_argument("--config", type=Path, default=HERE / "config.properties", help="TorchServe's configuration file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
