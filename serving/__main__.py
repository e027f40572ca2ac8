"""``python -m serving`` starts the service; ``python -m serving verify`` makes a picture again and compares it."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Do what the command line asks; the exit code."""
    asked = make_parser().parse_args(arguments)
    if asked.command == "verify":
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reports usage unless it finds this at its import
        from serving.verify import main as verify  # not above: the launcher must hold no onnxruntime when it starts workers

        return verify(asked.file, asked.models, environ)
    from serving.process.launcher import main as serve

    return serve(environ)


def make_parser() -> argparse.ArgumentParser:
    """The command line; without a command the service is started."""
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        usage="%(prog)s [-h] [COMMAND ...]",
        allow_abbrev=False,
        epilog="All settings are environment variables: see docs/SERVICE.md.",
        description="Without a command: serve the models of GAN_MODELS over HTTP until told to stop.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", prog="python -m serving")
    about = "say whether a PNG of the service is what its model makes of its seed"
    verify = commands.add_parser(
        "verify",
        help=about,
        allow_abbrev=False,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog="Exit code: 0 it is, 1 pixels differ, 2 it cannot be compared.",
    )
    verify.add_argument("file", metavar="FILE.png", help="a PNG that the service wrote")
    verify.add_argument("--models", metavar="PATH[,PATH]", help="model files or folders of them, instead of GAN_MODELS")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
