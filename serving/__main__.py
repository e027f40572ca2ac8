"""Command line: ``python -m serving`` starts the service; ``python -m serving verify`` reproduces a PNG and compares it.

Where the package is installed, ``gan-serve`` and ``gan-verify`` do the same.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

DESCRIPTION = "Serve the models of GAN_MODELS over HTTP until SIGTERM or SIGINT."
EPILOG = "All settings are environment variables: see docs/SERVICE.md."
VERIFY = "Check that a PNG of the service equals what its model makes of its seed."
EXIT_CODES = "Exit code: 0 equal, 1 pixels differ, 2 cannot be compared."


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command and return its exit code."""
    parser = make_parser()
    if arguments and arguments[0] not in ("verify", "-h", "--help"):
        parser.error(f"no command or option {arguments[0]!r}: GAN_MODELS names models, GAN_PORT the port; see docs/SERVICE.md")
    options = parser.parse_args(arguments)
    return _verify(options, environ) if options.command == "verify" else _serve(environ)


def run_serve() -> int:
    """The console script ``gan-serve``, which takes the models as arguments, too."""
    parser = argparse.ArgumentParser(prog="gan-serve", allow_abbrev=False, description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="model file or folder of them; default: GAN_MODELS")
    models = parser.parse_args().models
    if both := [model for model in models if "," in model and os.path.exists(model)]:
        parser.error(f"a comma separates models, so a path of one must have none, got {both[0]!r}")
    if models:
        environ = {**os.environ, "GAN_MODELS": ",".join(models)}
        return _with_packages("gan-serve", lambda: _serve(environ, models_by="MODEL"))
    return _with_packages("gan-serve", lambda: _serve(os.environ))


def run_verify() -> int:
    """The console script ``gan-verify``."""
    parser = argparse.ArgumentParser(prog="gan-verify", allow_abbrev=False, description=VERIFY, epilog=EXIT_CODES)
    _add_verify_arguments(parser)
    options = parser.parse_args()
    return _with_packages("gan-verify", lambda: _verify(options, os.environ))


def _with_packages(program: str, run: Callable[[], int]) -> int:
    """Run a console script; where the wheel was installed without the extra that it needs, say so."""
    for package in ("flask", "onnxruntime", "uvicorn"):
        if find_spec(package) is None:
            hint = "pip install 'gan-serve[serve]', on a GPU 'gan-serve[serve-gpu]'"
            print(f"{program} needs {package}: {hint}", file=sys.stderr)
            return 2
    return run()


def _serve(environ: Mapping[str, str], **names: str) -> int:
    _quiet_interrupts()  # until the launcher handles them
    from serving.process.launcher import main as serve

    return serve(environ, **names)


def _quiet_interrupts() -> None:
    """Let Ctrl-C end the program without a traceback."""
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _verify(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    _quiet_interrupts()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # onnxruntime reports usage unless this is set before its import
    from serving.verify import main as verify  # imported here: the launcher must not load onnxruntime

    return verify(options.file, options.models, environ)


def make_parser() -> argparse.ArgumentParser:
    """The command-line parser; without a command the service is started."""
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        usage="%(prog)s [-h] [COMMAND ...]",
        allow_abbrev=False,
        epilog=EPILOG,
        description=f"Without a command: {DESCRIPTION[0].lower()}{DESCRIPTION[1:]}",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", prog="python -m serving")
    verify = commands.add_parser(
        "verify",
        help="check that a PNG of the service equals what its model makes of its seed",
        allow_abbrev=False,
        description=VERIFY,
        epilog=EXIT_CODES,
    )
    _add_verify_arguments(verify)
    return parser


def _add_verify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE.png", help="a PNG written by the service")
    parser.add_argument(
        "--models",
        metavar="PATH[,PATH]",
        help="model files or folders of them; default: GAN_MODELS, or if unset models/*.onnx and runs/*/model.onnx",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
