#!/bin/sh
# Runs the rows of docs/SCOREBOARD.md that have no result yet, the cheapest first: trains, scores, stores, makes the page anew.
#
#     DATA_ROOT=data benchmarks/scoreboard.sh                      # all of them
#     DATA_ROOT=data benchmarks/scoreboard.sh toy1d ring8          # these rows
#     DATA_ROOT=data benchmarks/scoreboard.sh --background --seeds 1
#     DATA_ROOT=data benchmarks/scoreboard.sh --workers 10         # seeds at a time, on a GPU with MPS (docs/SCALING.md)
#
# What is stored is left out; what was interrupted goes on from its checkpoint, unless training/ or contract/ have changed since it
# began: then its run is deleted and trained anew. SIGTERM or Ctrl-C ends it at any time. On a GPU
# rows run in full, on the CPU scaled down where a row says how (--scale full|scaled decides otherwise). --background goes on after
# you log out, at low priority, writing runs/scoreboard/log.txt; a second call while one runs says so and ends.
# PYTHON names a Python that has torch; .venv's is taken otherwise. Further options: python -m benchmarks.scoreboard --help.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
[ -x "$python" ] || command -v "$python" >/dev/null || {
    echo "scoreboard: there is no $python: make setup, or name a Python that has torch: PYTHON=python3 $0" >&2
    exit 2
}
export ORT_DISABLE_TELEMETRY=1 PYTHONUNBUFFERED=1

if [ "${1:-}" = --background ]; then
    shift
    mkdir -p runs/scoreboard
    nohup nice -n 10 "$python" -m benchmarks.scoreboard --play "$@" >>runs/scoreboard/log.txt 2>&1 </dev/null &
    echo "running as process $!; kill $! ends it, runs/scoreboard/log.txt says how far it is"
    exit 0
fi
exec "$python" -m benchmarks.scoreboard --play "$@"
