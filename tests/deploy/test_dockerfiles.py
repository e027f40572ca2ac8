"""S-26: what the Dockerfiles promise about rights and secrets, read from their text; `make images-test` proves it on images."""

from __future__ import annotations

import re

import pytest

from deploy.images.contents import FORBIDDEN_PROGRAMS
from tests.repository.files import ROOT, commands, instructions, last_stage

DOCKERFILES = ["Dockerfile.train", "Dockerfile.serve"]
SECRET = re.compile(r"token|secret|passw|credential|private|_key|index.url|proxy|:pip|netrc", re.IGNORECASE)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_no_program_lends_its_owners_rights(dockerfile: str) -> None:
    """The last thing that is done after installing Debian's packages is taking every setuid and setgid bit away."""
    (installing,) = [run for run in commands(last_stage(dockerfile)) if "apt-get install" in run]
    assert installing.endswith("&& find / -xdev -type f -perm /6000 -exec chmod a-s {} +")


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_no_instruction_holds_a_secret(dockerfile: str) -> None:
    """No argument or variable is one that a secret or a private package index could be written into."""
    named = [rest for keyword, rest in instructions(dockerfile) if keyword in ("ARG", "ENV", "LABEL")]
    assert [rest for rest in named if SECRET.search(rest)] == []
    assert not re.search(r"https?://(?!127\.0\.0\.1)", "\n".join(rest for _, rest in instructions(dockerfile)))


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_packages_come_from_a_folder_that_is_no_layer(dockerfile: str) -> None:
    """The stage that another index may take the place of is empty, mounted by the one installation, and copied nowhere."""
    found = instructions(dockerfile)
    assert ("FROM", "scratch AS packages") in found
    mounting = [rest for keyword, rest in found if keyword == "RUN" and "--mount" in rest]
    assert len(mounting) == 1
    assert mounting[0].startswith("--mount=type=bind,from=packages,target=/packages ")
    assert "PIP_CONFIG_FILE=/packages/pip.conf" in mounting[0]
    assert [rest for keyword, rest in found if keyword == "COPY" and "packages" in rest] == []


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_nothing_is_downloaded_but_packages(dockerfile: str) -> None:
    """No ADD, no curl, no wget, and what apt downloaded does not stay."""
    found = instructions(dockerfile)
    assert [rest for keyword, rest in found if keyword == "ADD" or re.search(r"\b(curl|wget)\b", rest)] == []
    for run in commands(found):
        assert "apt-get install" not in run or "rm -rf /var/lib/apt/lists/* /var/cache/apt/*" in run


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_no_compiler_is_installed(dockerfile: str) -> None:
    """Of Debian's packages only Python, its venv and, for training, make."""
    installed = {
        word
        for run in commands(instructions(dockerfile))
        for names in re.findall(r"apt-get install (.*?) &&", run)
        for word in names.split()
        if not word.startswith("-")
    }
    assert installed == {"python3", "python3-venv"} | ({"make"} if dockerfile == "Dockerfile.train" else set())
    assert not installed & (FORBIDDEN_PROGRAMS - {"make"})


def test_the_service_is_run_without_rights() -> None:
    """`make docker-serve` gives the container no capability, no new privileges and no place to write but /tmp."""
    text = (ROOT / "Makefile").read_text()
    (run,) = re.findall(r"^\tdocker run (.*(?:\\\n.*)*)gan-serve$", text, re.MULTILINE)
    for flag in ("--read-only", "--tmpfs /tmp", "--cap-drop ALL", "--security-opt no-new-privileges", ":ro'"):
        assert flag in run
    assert "--privileged" not in text
