"""``python -m deploy.manifests FOLDER``: builds every kustomization into files that checkers read.

FOLDER gets ``kubernetes/*.yaml``, objects of Kubernetes' own API, and ``operators/*.yaml``, objects that operators define.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from deploy.manifests.kustomize import BuildError, Document, applied, build, find_kubectl
from deploy.manifests.rules import prometheus_rule

OPERATORS = ("monitoring.coreos.com", "trainer.kubeflow.org")


def main(folder: Path) -> int:
    """Write the files; return the exit code."""
    kubectl = find_kubectl()
    if kubectl is None:
        print("there is no kubectl here, which builds the manifests: install it, then try again", file=sys.stderr)
        return 2
    try:
        built = {**{name: build(name, kubectl) for name in applied()}, "rules": [prometheus_rule()]}
        for name, documents in built.items():
            write(folder, name, documents)
            print(f"built    {name}: {', '.join(document['kind'] for document in documents)}")
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:  # of a folder that cannot be made or written
        print(f"{error.filename or folder}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def write(folder: Path, name: str, documents: Sequence[Document]) -> None:
    """Write the objects of a kustomization, in place of those of an earlier run.

    Raises:
        OSError: a file or its folder cannot be written.
    """
    for part, is_operators in (("kubernetes", False), ("operators", True)):
        found = [document for document in documents if document["apiVersion"].startswith(OPERATORS) == is_operators]
        file = folder / part / f"{name.replace('/', '-')}.yaml"
        if found:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(yaml.safe_dump_all(found, explicit_start=True))
        else:
            file.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m deploy.manifests", description="Build every kustomization.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder to write, for the checkers")
    sys.exit(main(parser.parse_args().folder))
