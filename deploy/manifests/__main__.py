"""``python -m deploy.manifests FOLDER``: builds every kustomization into files that checkers read.

FOLDER gets ``kubernetes/*.yaml``, objects of Kubernetes' own API, and ``operators/*.yaml``, objects that operators define.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import yaml

from deploy.manifests.kustomize import BuildError, applied, build, find_kubectl
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
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    for name, documents in built.items():
        for document in documents:
            part = "operators" if document["apiVersion"].startswith(OPERATORS) else "kubernetes"
            file = folder / part / f"{name.replace('/', '-')}.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as stream:
                yaml.safe_dump(document, stream, explicit_start=True)
        print(f"built    {name}: {', '.join(document['kind'] for document in documents)}")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m deploy.manifests", description="Build every kustomization.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder to write, for the checkers")
    sys.exit(main(parser.parse_args().folder))
