"""``python -m deploy.manifests.operators FILE...``: checks objects that operators define against the models of their APIs.

It runs in the environment of ``make manifests-check``. kubernetes-validate knows Kubernetes' own objects only.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from cloudcoil.models.prometheus_operator import v1 as monitoring
from kubeflow_trainer_api import models as trainer
from pydantic import ValidationError

Document = dict[str, Any]


def main(files: Sequence[str]) -> int:
    """Print each fault; return the exit code."""
    found = [
        f"{file}: {fault}" for file in files for one in yaml.safe_load_all(Path(file).read_text()) for fault in faults(one)
    ]
    print("\n".join(found) or f"valid    by the models of the operators' APIs: {len(files)} files")
    return 1 if found else 0


def faults(document: Document) -> Iterator[str]:
    """Yield what is wrong with an object, a sentence each."""
    name = f"{document['kind']} {document['metadata']['name']}"
    try:
        if document["apiVersion"].startswith("monitoring.coreos.com"):
            model = getattr(monitoring, document["kind"]).model_validate(document)
            known = model.model_dump(mode="json", by_alias=True, exclude_unset=True)
        else:
            known = getattr(trainer, f"TrainerV1alpha1{document['kind']}").from_dict(document).to_dict()
    except ValidationError as error:
        yield f"{name}: {error}"
    else:
        yield from unknown_fields(document, known, name)


def unknown_fields(given: Any, known: Any, path: str) -> Iterator[str]:
    """Yield the fields that a model dropped: these models refuse wrong types, but ignore unknown names."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(known, dict) or key not in known:
                yield f"{path}.{key} is not a field of it"
            else:
                yield from unknown_fields(value, known[key], f"{path}.{key}")
    elif isinstance(given, list):
        for index, value in enumerate(given):
            yield from unknown_fields(value, known[index], f"{path}[{index}]")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
