"""The contest of servers: its harness runs whole on the service alone, and every contender's description can be read."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving.answers import AnswerError, find_png
from benchmarks.serving.bench import measure_wrk
from benchmarks.serving.contender import FOLDER, OURS, Batching, Contender, fill, load_contenders
from benchmarks.serving.contenders.generator import write_png
from benchmarks.serving.contest import in_order
from benchmarks.serving.standings import Run, read_report, summarise, write_report
from benchmarks.serving.visit import SEEDS_AT_ONCE, check_at_once, environment_for, names_for
from serving.encoding.png import SIGNATURE
from serving.model.load import load_model
from tests.serving import tiny_onnx

NAMES = ["root", "here", "work", "model", "python", "bin", "libpython", "cores", "many", "batch", "wait"]
NAMES += ["wait_seconds", "port", "port2", "port3"]
PLAN = {"seconds": 1, "repeats": 2, "connections": [1, 4], "machine": {"cores": 2, "processor": "a CPU"}, "code": "0a"}


def test_every_contender_can_be_read() -> None:
    """Each folder has a description whose every name is known, files that exist, and exact versions."""
    contenders = load_contenders()
    assert list(contenders) == [OURS, *sorted(set(contenders) - {OURS, "constant"}), "constant"]
    for contender in contenders.values():
        texts = [*contender.start, *contender.environment.values(), *(part for parts in contender.prepare for part in parts)]
        texts += [(contender.folder / name).read_text() for name in contender.templates]
        for text in texts:
            fill(text, dict.fromkeys(NAMES, "x"))
        requirements = FOLDER / contender.venv / "requirements.txt"
        lines = requirements.read_text().splitlines() if requirements.exists() else []
        assert [line for line in lines if "==" not in line] == []
        assert requirements.exists() == (contender.venv != OURS)


@pytest.mark.parametrize(
    "body",
    [SIGNATURE + b"x", b'{"json": "header"}\x09\x00\x00\x00' + SIGNATURE + b"x", b'{"outputs": [{"data": ["iVBORw0KGgp4"]}]}'],
    ids=["plain", "binary tensor", "base64 tensor"],
)
def test_the_picture_is_found_in_every_kind_of_answer(body: bytes) -> None:
    """As the whole body, behind a JSON header, or in base64."""
    assert find_png(body) == SIGNATURE + b"x"


def test_an_answer_without_a_picture_is_told() -> None:
    """With its beginning in the message."""
    with pytest.raises(AnswerError, match="overloaded"):
        find_png(b"overloaded")


def visit_of(contender: str, repeat: int, rate: float, errors: float = 1.0, batching: str = "single requests") -> Run:
    """A run of ten seconds as the harness writes it."""
    load = {"rate": rate, "p50": 0.001, "p99": 0.002, "requests": 10 * rate, "errors": errors}
    return {
        "model": "m",
        "contender": contender,
        "batching": batching,
        "repeat": repeat,
        "startup_s": 1.0,
        "memory_bytes": 2**20,
        "png_bytes": 9,
        "loads": {"1": load, "4": load},
    }


def test_ratios_are_of_medians_and_errors_are_summed(tmp_path: Path) -> None:
    """Ours over each contender; who failed keeps its reason and has no figures; the best is named."""
    report = read_report(tmp_path / "r.json", PLAN, "abc", {"m": "digest"})
    report["runs"] = [visit_of(OURS, 0, 900), visit_of(OURS, 1, 1100), visit_of("gunicorn", 0, 500), visit_of("ray", 0, 400)]
    failed = {"model": "m", "contender": "pytriton", "batching": "single requests", "repeat": 0, "failed": "no wheel"}
    report["runs"] += [visit_of("constant", 0, 9000), failed]
    rows = summarise(report, "m")["contenders"]
    assert rows["gunicorn"]["ours_is"] == {"1": 2.0, "4": 2.0}
    assert rows[OURS]["loads"]["4"]["errors"] == 2
    assert rows["pytriton"] == {"failed": "no wheel"}
    text = write_report(report, load_contenders(), tmp_path / "r.json")
    assert "not measured: no wheel" in text
    assert "at 4: ours is 2.0 × the best contender, Flask" in text
    heads, _, *lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    repeats = {line[0]: line[heads.index("repeats") + 1] for line in lines}
    titles = load_contenders()
    assert [repeats[titles[name].title] for name in (OURS, "gunicorn", "pytriton")] == ["2", "1", "0"]


def test_at_each_load_the_best_batching_of_a_server_counts(tmp_path: Path) -> None:
    """Also where another one is better at another load, could not start, or is fast because it refuses."""
    report = read_report(tmp_path / "r.json", PLAN, "abc", {"m": "digest"})
    alone = visit_of("litserve", 0, 700, errors=0)
    alone["loads"]["4"] = {**alone["loads"]["4"], "rate": 300}
    gathered = visit_of("litserve", 0, 500, errors=0, batching="batches of 32 within 1 ms") | {"memory_bytes": 2**21}
    refusing = visit_of("litserve", 0, 9000, errors=9000, batching="batches of 32 within 0 ms")
    lost = {"model": "m", "contender": "litserve", "batching": "batches of 8 within 1 ms", "repeat": 0, "failed": "ended"}
    report["runs"] = [visit_of(OURS, 0, 1000), alone, gathered, refusing, lost]
    row = summarise(report, "m")["contenders"]["litserve"]
    assert "failed" not in row
    assert [(load["rate"], load["batching"]) for load in row["loads"].values()] == [
        (700, "single requests"),
        (500, "batches of 32 within 1 ms"),
    ]
    assert (row["memory_bytes"], row["ours_is"]) == (2**21, {"1": 1.43, "4": 2.0})
    text = write_report(report, load_contenders(), tmp_path / "r.json")
    assert "- LitServe, batches of 8 within 1 ms, repeat 1: not measured: ended\n" in text
    assert "- LitServe: single requests at 1, batches of 32 within 1 ms at 4\n" in text


def test_a_server_that_may_wait_for_a_batch_is_also_measured_without_a_wait() -> None:
    """With one connection every wait is lost, so that a server would be slower than it can be; ours has its defaults alone."""
    contenders = load_contenders()
    assert contenders[OURS].batches == (Batching(),)
    waiting = [one for one in contenders.values() if any(each.wait_ms and each.size > 1 for each in one.batches)]
    assert {one.name for one in waiting} == {"litserve", "mlserver", "ray", "torchserve", "torchserve_our_png"}
    assert all(any(each.size == 1 for each in one.batches) for one in waiting)


def test_every_second_repeat_goes_backwards() -> None:
    """A machine that slows down during a repeat must not slow the last server more than the first."""
    contenders = list(load_contenders().values())
    assert [in_order(contenders, repeat) for repeat in range(3)] == [contenders, contenders[::-1], contenders]


def test_a_server_has_only_the_settings_that_its_description_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables of the caller that a server would read do not reach it."""
    for name in ("GAN_IDLE_THREADS", "WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "UVICORN_WORKERS"):
        monkeypatch.setenv(name, "2")
    ours = load_contenders()[OURS]
    names = names_for(ours, Batching(), tmp_path / "m.onnx", tmp_path, Path(sys.executable))
    found = environment_for(ours, names)
    assert {name for name in found if name.startswith(("GAN_", "WEB_", "GUNICORN_", "UVICORN_"))} == set(ours.environment)


@pytest.mark.parametrize("is_swapped", [False, True])
def test_requests_at_once_must_each_get_the_picture_of_their_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_swapped: bool
) -> None:
    """A server that confuses the rows of a batch is right as long as it is asked for one seed at a time."""
    path = tmp_path / "m.onnx"
    path.write_bytes(tiny_onnx.grey())
    model = load_model(path, "cpu")

    def ask(contender: Contender, port: int, seed: int) -> bytes:
        pixels: np.ndarray = model.sample([SEEDS_AT_ONCE[0] if is_swapped else seed])[0]
        return write_png(pixels)

    monkeypatch.setattr("benchmarks.serving.visit.ask", ask)
    contender = load_contenders()["gunicorn"]
    if is_swapped:
        with pytest.raises(AnswerError, match="pixels differ"):
            check_at_once(contender, 1, model)
    else:
        check_at_once(contender, 1, model)


def test_a_server_whose_requests_fail_is_not_measured(tmp_path: Path) -> None:
    """From a thousandth on: it is last, it has no ratio, and it is not the best; where ours fails, nothing is compared."""
    report = read_report(tmp_path / "r.json", PLAN, "abc", {"m": "digest"})
    report["runs"] = [visit_of(OURS, 0, 100), visit_of("gunicorn", 0, 1000, errors=11), visit_of("ray", 0, 50, errors=0)]
    rows = summarise(report, "m")["contenders"]
    assert rows["gunicorn"]["failed"] == "11 of 10,011 requests failed at 1, 11 of 10,011 requests failed at 4"
    assert "ours_is" not in rows["gunicorn"]
    text = write_report(report, load_contenders(), tmp_path / "r.json")
    assert "at 4: ours is 2.0 × the best contender, Ray" in text
    report["runs"][0] = visit_of(OURS, 0, 100, errors=100)
    assert not any("ours_is" in row for row in summarise(report, "m")["contenders"].values())


@pytest.mark.process
@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed (Debian: wrk)")
@pytest.mark.parametrize("status", [200, 503])
def test_only_answers_that_succeed_are_a_rate(status: int) -> None:
    """wrk counts all that was answered; a server that refuses everything has a rate of 0."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            for _ in range(10):  # within one second a busy machine may leave no time for any answer
                figures = measure_wrk(server.server_port, 1, 1, 0)
                if figures["requests"] or figures["errors"]:
                    break
        finally:
            server.shutdown()
    is_good = status == 200
    assert (figures["rate"] > 0, figures["requests"] > 0, figures["errors"] > 0) == (is_good, is_good, not is_good)


def test_a_report_goes_on_without_what_failed_and_refuses_another_plan(tmp_path: Path) -> None:
    """What is finished stays, what failed is tried again, and figures of two plans never mix."""
    path = tmp_path / "r.json"
    report = read_report(path, PLAN, "abc", {"m": "digest"})
    failed = {"model": "m", "contender": "ray", "batching": "single requests", "repeat": 0, "failed": "x"}
    report["runs"] = [visit_of(OURS, 0, 900), failed]
    write_report(report, load_contenders(), path)
    assert [run["contender"] for run in read_report(path, PLAN, "def", {"m": "digest"})["runs"]] == [OURS]
    others: dict[str, object] = {"seconds": 9, "machine": {"cores": 64, "processor": "another"}, "code": "0b"}
    for name, value in others.items():
        with pytest.raises(ValueError, match=rf"another plan \({name} .*, not "):
            read_report(path, {**PLAN, name: value}, "abc", {"m": "digest"})
    with pytest.raises(ValueError, match="another m"):
        read_report(path, PLAN, "abc", {"m": "other"})


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed (Debian: wrk)")
def test_the_contest_runs_on_the_service_alone(root: Path, tmp_path: Path) -> None:
    """A second at each number of connections gives runs, limits and tables; the same command again measures nothing twice."""
    model, out = tmp_path / "tiny.onnx", tmp_path / "report.json"
    model.write_bytes(tiny_onnx.grey())
    command = [
        sys.executable,
        "-m",
        "benchmarks.serving.contest",
        "--only",
        OURS,
        "--models",
        str(model),
        "--out",
        str(out),
        "--seconds",
        "1",
        "--repeats",
        "1",
        "--connections",
        "1,4",
        "--warm",
        "0",
    ]
    done = subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    (run,) = report["runs"]
    assert (run["model"], run["contender"], run["repeat"]) == ("tiny", OURS, 0)
    assert run["memory_bytes"] > 0
    assert [(load["requests"] > 0, load["errors"]) for load in run["loads"].values()] == [(True, 0), (True, 0)]
    assert all(rate > 0 for rate in report["limits"][0]["rates"].values())
    assert report["summary"]["tiny"]["contenders"][OURS]["ours_is"] == {"1": 1.0, "4": 1.0}
    assert out.with_suffix(".md").read_text() in done.stdout
    again = subprocess.run(command, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert json.loads(out.read_text())["runs"] == report["runs"]
