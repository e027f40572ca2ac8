"""The OpenAPI document against the application, by schemathesis: what it says may be asked is, and is answered as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from serving.app import create_app
from serving.settings import Settings
from tests.serving import tiny_onnx

CONFIG: dict[str, Any] = {
    "seed": 7,
    "generation": {"deterministic": True, "max-examples": 50},
    "phases": {"stateful": {"enabled": False}, "coverage": {"generate-duplicate-query-parameters": True}},
    "checks": {"not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503", "504"]}},
}

UNSAID = [
    r"the body must be a PNG|changes no picture",  # no schema describes a file
    r"If-Match must",  # nor the entity tag of an answer
    r"at most \d+ pixels|pictures only can be enlarged|sheets only have columns|for this seed, as seeds end|does not move",
    r"and up to \d+ as npy or tar|cols must be 1\.\.\d+,",  # one parameter against another
    r"got '-?[\d.]+e-\d+'",  # a spelling: x-text-pattern has no exponent
    r"got '\[?-?\d+\.0",  # another: 1.0 is an integer to JSON Schema
    r"inputs must have (one number of rows|seed, or every latent)|must be given once|exclude each other",
    r"data of input \w+ must be \d+ (numbers for its shape|arrays)",
]
"""What is refused although each value is right by itself, in the words of the refusal: JSON Schema cannot say it."""
OF_ANOTHER_MODEL = [
    r"no parameter '\w+'; there are|format must be one of",
    r"inputs\[|outputs\[|input \w+ must|parameters has",
]
"""What is refused where the document shows several models together."""
TOGETHER = (
    "GET /generate",
    "GET /walk",
    "GET /mix",
    "GET /arithmetic",
    "GET /models/{digest}/generate",
    "POST /v2/models/{name}/infer",
)


@pytest.fixture
def schema(tmp_path: Path) -> Any:
    """The document of the application with a model of each kind, and how it is to be tested: with the same requests always."""
    for place, make in enumerate((tiny_onnx.conditional, tiny_onnx.points, tiny_onnx.tokens)):
        (tmp_path / f"{place}.onnx").write_bytes(make())
    app = create_app(
        Settings(models=(str(tmp_path),), provider="cpu", admin_token="0123456789abcdef"), log=lambda event, **facts: None
    )
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(CONFIG))


@pytest.mark.slow
def test_the_service_answers_as_the_document_says(schema: Any) -> None:
    """Every request gets a status, a type, headers and a body that the document allows; what it forbids is refused."""
    found, tried = [], set()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            found.append(f"{event.info}")
        if isinstance(event, events.ScenarioFinished):
            tried.add(event.label)
            found += failures(event)
    assert not found, "\n\n".join(found)
    told = {f"{method.upper()} {path}" for path, item in schema.raw_schema["paths"].items() for method in item}
    assert tried == told - {"GET /openapi.json"}  # from where it has read the document


def failures(event: Any) -> Iterator[str]:
    """What a scenario found, but for what the document cannot say."""
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info and not is_unsaid(event.label, check, event.recorder.interactions[case_id].response):
                yield f"{check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample[:1000]}"


def is_unsaid(label: str, check: Any, response: Any) -> bool:
    """Whether a refusal follows a rule that no schema of one value can express, or an unknown header was accepted."""
    if check.name == "negative_data_rejection":
        return "in header - object with unexpected properties" in str(check.failure_info.failure)
    if check.name != "positive_data_acceptance":
        return False
    if label.startswith("HEAD"):
        return True  # a refusal without words; GET is asked the same
    told = json.loads(response.content)
    rules = UNSAID + (OF_ANOTHER_MODEL if label in TOGETHER else [])
    return any(re.search(rule, told.get("detail") or told["error"]) for rule in rules)
