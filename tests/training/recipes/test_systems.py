"""The 25 systems and the catalogue hold each other to account."""

from __future__ import annotations

import pytest

from training.__main__ import main
from training.recipes import CATALOGUE
from training.recipes.systems import OURS, SYSTEMS, System, served


def test_there_are_25_systems_of_different_names() -> None:
    """As many as the tutorials and papers name that this project began with."""
    assert len({system.name for system in SYSTEMS}) == len(SYSTEMS) == 25


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_a_system_has_recipes_that_exist(system: System) -> None:
    """Each of its names is in the catalogue, alone or with a small form, and so is what it is trained by."""
    assert {name.removesuffix("_small") for name in system.names} == set(system.recipes)
    assert system.main.name in system.names


def test_every_recipe_is_of_one_system_or_named_as_ours() -> None:
    """But DCGAN's and ours, which completion uses, too."""
    owned = [name for system in SYSTEMS if system.command is None for name in system.names]
    ours = [name for name in CATALOGUE if name.removesuffix("_small") in OURS]
    assert sorted([*owned, *ours]) == sorted(CATALOGUE)


def test_what_a_client_asks_for_follows_from_the_recipe() -> None:
    """Parameters are those that the latents give; systems that change a picture have the other route."""
    found = {system.name: served(system) for system in SYSTEMS}
    assert found["conditional GAN"] == "`GET /generate?y=`"
    assert found["InfoGAN"] == "`GET /generate?y=&c0=&c1=`"
    assert found["pix2pix"] == "`POST /transform`"
    assert found["conditional AAE"] == "`GET /generate?age=`, `POST /transform?age=`"
    assert found["completion"] == "`python -m training complete`"


def test_the_command_lists_every_system(capsys: pytest.CaptureFixture[str]) -> None:
    """`list` shows the name of each, and of what it is made."""
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert all(system.name in said for system in SYSTEMS)
    assert "ppgn-parity" in said
