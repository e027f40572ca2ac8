"""Command line: ``python -m serving`` starts the service; ``python -m serving verify`` reproduces a PNG and compares it."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command and return its exit code."""
    options = make_parser().parse_args(arguments)
    if options.command == "verify":
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reports usage unless this is set before its import
        from serving.verify import main as verify  # imported here: the launcher must not load onnxruntime

        return verify(options.file, options.models, environ)
    from serving.process.launcher import main as serve

    return serve(environ)


def make_parser() -> argparse.ArgumentParser:
    """The command-line parser; without a command the service is started."""
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        usage="%(prog)s [-h] [COMMAND ...]",
        allow_abbrev=False,
        epilog="All settings are environment variables: see docs/SERVICE.md.",
        description="Without a command: serve the models of GAN_MODELS over HTTP until SIGTERM or SIGINT.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", prog="python -m serving")
    verify = commands.add_parser(
        "verify",
        help="check that a PNG of the service equals what its model makes of its seed",
        allow_abbrev=False,
        description="Check that a PNG of the service equals what its model makes of its seed.",
        epilog="Exit code: 0 equal, 1 pixels differ, 2 cannot be compared.",
    )
    verify.add_argument("file", metavar="FILE.png", help="a PNG written by the service")
    verify.add_argument(
        "--models",
        metavar="PATH[,PATH]",
        help="model files or folders of them; default: GAN_MODELS, or if unset models/*.onnx and runs/*/model.onnx",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
