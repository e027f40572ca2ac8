#!/bin/sh
# What an NVIDIA GPU does with this project, in under 9 minutes: training, export, whether rows stay bit-equal, the service
# with the models in each worker and in the shared engine. Without a GPU it says that it was not run.
#
#     DATA_ROOT=data benchmarks/cuda_check.sh figures.json
#
# PYTHON names a Python that has torch (else .venv's, python3 or python is taken); DATA_ROOT holds mnist/ with MNIST's four
# IDX files; nothing is fetched. --device cpu --tiny tries the script itself, in seconds, where there is no GPU.
set -eu
HARD_LIMIT_S=535
root=$(cd "$(dirname "$0")/.." && pwd)

for python in "${PYTHON:-}" "$root/.venv/bin/python" python3 python; do
    if [ -n "$python" ] && "$python" -c 'import torch' 2>/dev/null; then
        found=$python
        break
    fi
    if [ -n "$python" ] && [ "$python" = "${PYTHON:-}" ]; then
        echo "cuda_check: PYTHON=$python cannot import torch; name one that can." >&2
        exit 2
    fi
done
if [ -z "${found:-}" ]; then
    echo 'cuda_check: no Python here can import torch; name one that can: PYTHON=/path/to/python benchmarks/cuda_check.sh' >&2
    exit 2
fi

export ORT_DISABLE_TELEMETRY=1 PYTHONUNBUFFERED=1 PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
# The script keeps to its own budget; this is for a driver that hangs. What was measured until then is in the JSON.
if command -v timeout >/dev/null; then
    exec timeout --kill-after=3 "$HARD_LIMIT_S" "$found" -P -m benchmarks.cuda.check "$@"
fi
exec "$found" -P -m benchmarks.cuda.check "$@"
