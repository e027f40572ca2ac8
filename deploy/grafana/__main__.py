"""``python -m deploy.grafana`` writes the dashboards; ``--check`` says by the exit code whether they are written already."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.grafana import service, training
from deploy.grafana.panels import to_json

FOLDER = Path(__file__).parent / "dashboards"
BOARDS = {"service.json": service.BOARD, "training.json": training.BOARD}


def main(arguments: list[str], folder: Path = FOLDER) -> int:
    """Write, or compare; 1 when a file is not what the boards make."""
    made = {folder / name: to_json(board) for name, board in BOARDS.items()}
    if arguments == ["--check"]:
        return int(any(not path.exists() or path.read_text() != text for path, text in made.items()))
    if arguments:
        print("usage: python -m deploy.grafana [--check]", file=sys.stderr)
        return 2
    folder.mkdir(exist_ok=True)
    for path, text in made.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
