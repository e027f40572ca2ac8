"""The OpenAPI document as it is sent: made once, and anew when the models have changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.openapi.published import Publisher
from tests.serving import tiny_onnx
from tests.serving.client import ask
from tests.serving.reloading import make_app, reload, replace_file, retrained


@pytest.mark.slow
def test_the_document_is_made_once_for_each_set_of_models(home: Path) -> None:
    """Requests share one document; after a swap, and with one model more, it and its ETag are those of the new models."""
    app = make_app(home.parent)
    publisher: Publisher = app.flask.extensions["serving"].publisher
    tags = []
    for data in (tiny_onnx.grey(), retrained(), retrained()):
        replace_file(home, data)
        reload(app)
        answer = ask(app, path="/openapi.json")
        digest = json.loads(ask(app, path="/models/grey").body)["digest"]
        assert f"/models/{digest}/generate" in json.loads(answer.body)["paths"]
        assert publisher.latest() is publisher.latest()
        tags.append(answer.headers["ETag"])
    assert tags[0] != tags[1] == tags[2]
    (home.parent / "n.onnx").write_bytes(tiny_onnx.points())
    reload(app)
    assert all(b"/v2/models/points2/infer" in ask(app, path=path).body for path in ("/openapi.json", "/docs"))
