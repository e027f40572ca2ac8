"""Parse a command line that begins with the name of a command."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Union

import tyro
from rich.console import Console

Command = Callable[[Console], int]


def parse_command(commands: Mapping[str, type[Command]], prog: str, arguments: Sequence[str]) -> Command:
    """Return the command that the arguments name, with its options.

    The help of ``prog`` shows the first paragraph of each command's docstring, so that it fits a screen; the help of a command
    shows all of it.
    """
    asked = next(iter(arguments), None)
    unions: list[Any] = []
    for name, command in commands.items():
        description = None if name == asked else (inspect.getdoc(command) or "").split("\n\n", 1)[0]
        unions.append(Annotated[command, tyro.conf.subcommand(name, description=description)])
    parsed: Command = tyro.cli(Union[tuple(unions)], prog=prog, args=arguments)  # type: ignore[call-overload]  # noqa: UP007
    return parsed
