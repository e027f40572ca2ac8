"""Whether an object is what its API says: Kubernetes' own schemas, and for what operators add the models of their API.

It runs in the environment of ``make manifests-check``, not in the project's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import yaml
from cloudcoil.models.prometheus_operator import v1 as monitoring
from compose_spec import PyCompose
from kubeflow_trainer_api import models as trainer
from pydantic import ValidationError

from deploy.manifests.kustomize import Document

KUBERNETES = ("1.30", "1.37")
"""The oldest version that the manifests are for, as preStop may sleep from there on, and the newest one with schemas."""


def faults(document: Document) -> Iterator[str]:
    """What is wrong with an object, a sentence each."""
    group, _, _ = document["apiVersion"].partition("/")
    name = f"{document['kind']} {document['metadata']['name']}"
    try:
        if group == "monitoring.coreos.com":
            model = getattr(monitoring, document["kind"]).model_validate(document)
            yield from _lost(document, model.model_dump(mode="json", by_alias=True, exclude_unset=True), name)
        elif group == "trainer.kubeflow.org":
            model = getattr(trainer, f"TrainerV1alpha1{document['kind']}").from_dict(document)
            yield from _lost(document, model.to_dict(), name)
        else:
            for version in KUBERNETES:
                kubernetes_validate.validate(document, version, strict=True)
    except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError, ValidationError) as error:
        yield f"{name}: {error}"


def _lost(given: Any, kept: Any, path: str) -> Iterator[str]:
    """Fields that the model did not keep, as it does not know them: these models refuse wrong types, and drop wrong names."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(kept, dict) or key not in kept:
                yield f"{path}.{key} is no field of it"
            else:
                yield from _lost(value, kept[key], f"{path}.{key}")
    elif isinstance(given, list):
        for number, value in enumerate(given):
            yield from _lost(value, kept[number], f"{path}[{number}]")


def compose_faults(text: str) -> Iterator[str]:
    """What is wrong with a compose file by the Compose Specification, its YAML anchors resolved first."""
    try:
        PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(text))).validate()
    except ValueError as error:
        yield f"compose.yaml: {error}"
