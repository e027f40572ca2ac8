"""The admin route: there is none without a token, and a wrong one is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from serving.errors import TooManyTries, Unauthorised
from serving.http.asgi import ASGIApp
from serving.http.bearer_auth import BearerAuth
from serving.model.load import load_model
from tests.harness.service import running
from tests.serving.client import ask
from tests.serving.reloading import make_app, replace_file, retrained

TOKEN = "CANARY-0123456789"  # of this test


def test_admin_routes_do_not_exist_without_a_token(app: ASGIApp) -> None:
    """S-01: by default the admin route does not exist."""
    assert ask(app, method="POST", path="/admin/reload").status == 404


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer \xe4\xf6"]
)
def test_a_wrong_token_is_refused(home: Path, authorization: str | None) -> None:
    """S-01, S-02: a missing, wrong, truncated or non-ASCII token is 401 with the same body, which says how to authorise."""
    app = make_app(home, admin_token=TOKEN)
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = ask(app, method="POST", path="/admin/reload", headers=headers)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert json.loads(answer.body)["detail"] == "Authorization must be 'Bearer' and the token"


def test_the_right_token_is_accepted(home: Path) -> None:
    """With the token a reload returns its outcomes; a refused file makes it 422, and GET is 405."""
    app = make_app(home, admin_token=TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = ask(app, method="POST", path="/admin/reload", headers=headers)
    assert (answer.status, json.loads(answer.body)["outcomes"][0]["result"]) == (200, "unchanged")
    home.write_bytes(b"x")
    for _ in range(2):  # the second time the file is as it was when it was refused
        answer = ask(app, method="POST", path="/admin/reload", headers=headers)
        assert (answer.status, json.loads(answer.body)["outcomes"][0]["result"]) == (422, "refused")
    assert ask(app, path="/admin/reload", headers=headers).status == 405


def test_many_wrong_tokens_are_rate_limited(home: Path) -> None:
    """S-06: after ten wrong tokens the next has 429 with Retry-After, and the operator with the right one is not shut out."""
    bearer_auth = make_app(home, admin_token=TOKEN).flask.extensions["serving"].bearer_auth
    for _ in range(10):
        with pytest.raises(Unauthorised):
            bearer_auth.check("Bearer wrong")
    for _ in range(1_000):
        with pytest.raises(TooManyTries) as refusal:
            bearer_auth.check("Bearer wrong")
    assert 1 <= int(refusal.value.headers["Retry-After"]) <= 60
    bearer_auth.check(f"Bearer {TOKEN}")


def test_wrong_tokens_of_a_minute_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """S-06: each of ten wrong tokens counts for a minute, which is what Retry-After says, and then another one is 401."""
    now = 1000
    monkeypatch.setattr("serving.http.bearer_auth.time", SimpleNamespace(monotonic=lambda: now))
    bearer_auth = BearerAuth(TOKEN)
    for _ in range(10):
        with pytest.raises(Unauthorised):
            bearer_auth.check("Bearer wrong")
        now += 1
    now = 1059
    with pytest.raises(TooManyTries) as refusal:
        bearer_auth.check("Bearer wrong")
    assert refusal.value.headers["Retry-After"] == "1"
    now = 1060
    with pytest.raises(Unauthorised):
        bearer_auth.check("Bearer wrong")
    with pytest.raises(TooManyTries):
        bearer_auth.check("Bearer wrong")


@pytest.mark.process
def test_every_worker_reloads_and_the_token_is_not_exposed(root: Path, home: Path) -> None:
    """A reload of one worker reloads both; the token is in no log, metric or response (S-04)."""
    with running(root, models=home, workers=2, admin_token=TOKEN, watch_seconds=0) as server:
        replace_file(home, retrained())
        newest = load_model(home, "cpu").digest
        assert server.get("/admin/reload", "POST", {"Authorization": f"Bearer {TOKEN}"}).status == 200
        streak = 0
        for _ in range(20_000):
            streak = streak + 1 if server.get("/generate?seed=1")[1]["x-model-digest"] == newest else 0
            if streak == 60:
                break
        assert streak == 60
        bodies = [server.get(path)[2] for path in ("/metrics", "/models", "/", "/admin/reload")]
        assert server.stop() == 0
        stdout = server.process.stdout.read() if server.process.stdout else ""
        assert TOKEN not in server.errors() + stdout
        assert all(TOKEN.encode() not in text for text in bodies)
