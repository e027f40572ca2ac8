"""Files that are replaced as a whole: what else than a file may be at their place."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from training.files import write_json, write_whole


def test_a_pipe_is_written_to_and_stays(tmp_path: Path) -> None:
    """What a command writes to /dev/stdout goes there: the device is not replaced by a file."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"one", b"two")
    reader.join(timeout=60)
    assert read == [b"onetwo"]
    assert pipe.is_fifo()


@pytest.mark.process
@pytest.mark.parametrize("mode", ["w", "a"])
def test_an_output_that_leads_to_a_file_goes_on(mode: str, tmp_path: Path) -> None:
    """``> FILE`` and ``>> FILE``: what was there stays, what is printed before and after stands around the bytes."""
    program = (
        "from pathlib import Path; from training.files import write_whole\n"
        "print('before'); write_whole(Path('/dev/stdout'), b'card\\n'); print('after')"
    )
    path = tmp_path / "all.md"
    path.write_text("old\n")
    with path.open(mode) as file:
        subprocess.run([sys.executable, "-c", program], stdout=file, check=True)
    assert path.read_text() == ("old\n" if mode == "a" else "") + "before\ncard\nafter\n"


def test_a_link_stays_and_leads_to_the_new_bytes(tmp_path: Path) -> None:
    """Also a link to a file that does not exist yet."""
    for name in ("old", "new"):
        (tmp_path / f"link-{name}").symlink_to(tmp_path / name)
    (tmp_path / "old").write_bytes(b"before")
    for name in ("old", "new"):
        write_whole(tmp_path / f"link-{name}", b"after")
        assert (tmp_path / f"link-{name}").is_symlink()
        assert (tmp_path / name).read_bytes() == b"after"


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    """A measure without a value, as of too few samples, does not keep the others from being written."""
    write_json(tmp_path / "a.json", {"rows": ({"value": math.nan}, {"value": 1.5}), "psnr": math.inf, "n": 3})
    assert json.loads((tmp_path / "a.json").read_text()) == {"rows": [{"value": None}, {"value": 1.5}], "psnr": None, "n": 3}


def test_a_failure_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    """Not the unfinished one, which has a number in its name."""
    for path in (tmp_path, tmp_path / "missing" / "file"):
        with pytest.raises(OSError) as error:
            write_whole(path, b"one")
        assert error.value.filename == str(path)
    assert not list(tmp_path.iterdir())
