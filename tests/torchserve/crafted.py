"""Every kind of archive that must be refused: what the message says, and how an honest one is made into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from deploy.torchserve.contents import CONFIG, HANDLER, MANIFEST, MODEL
from tests.serving import tiny_onnx
from tests.torchserve.zips import LINK, STORED, Entry, changed, with_entry, write

Entries = Mapping[str, Entry]
Craft = Callable[[Entries], bytes]


def huge(name: bytes) -> Entry:
    """An entry that declares a gigabyte, within the ratio that is allowed."""
    return Entry(name=name, content=b"", raw=bytes(11_000_000), size=10**9)


CRAFTED: dict[str, tuple[str, Craft]] = {
    "symbolic link": ("symbolic link", lambda e: write(changed(e, HANDLER, attributes=LINK, content=b"/etc/passwd"))),
    "device": ("no plain file", lambda e: write(changed(e, HANDLER, attributes=0o020644 << 16))),
    "twice": ("there twice", lambda e: write([*e.values(), e[HANDLER]])),
    "twice but for case": ("there twice", lambda e: write(with_entry(e, name=HANDLER.upper().encode()))),
    "encrypted": ("is encrypted", lambda e: write(changed(e, MODEL, flags=1))),
    "strongly encrypted": ("unusual way", lambda e: write(changed(e, MODEL, flags=0x40))),
    "sizes behind the content": ("unusual way", lambda e: write(changed(e, MODEL, flags=8))),
    "another method": ("unusual way", lambda e: write(changed(e, MODEL, method=12))),
    "a name in an extra field": ("unusual way", lambda e: write(changed(e, MODEL, extra=b"up\x01\0x"))),
    # ------------------------------------------------------------------------------------------------------ two stories
    "an entry that the directory hides": (
        "in no entry of the directory",
        lambda e: write([Entry(name=b"evil.py", content=b"x", is_listed=False), *e.values()]),
    ),
    "an entry hidden at the end": (
        "in no entry of the directory",
        lambda e: write(with_entry(e, name=b"evil.py", is_listed=False)),
    ),
    "bytes before the directory": ("in no entry of the directory", lambda e: write(list(e.values()), gap=b"junk")),
    "another name in front": ("another header", lambda e: write(changed(e, HANDLER, local_name=b"../../x.py"))),
    "bytes before the first entry": ("must begin with an entry", lambda e: b"#!/bin/sh\n" + write(list(e.values()))),
    "bytes at the end": ("nothing may follow", lambda e: write(list(e.values())) + b"more"),
    "a comment": ("nothing may follow", lambda e: write(list(e.values()), comment=b"hello")),
    "an entry that is not there": ("directory", lambda e: write(list(e.values()), count=len(e) + 1)),
    # ------------------------------------------------------------------------------------------------------------ bombs
    "200 MB in 200 KB": ("would grow from", lambda e: write(changed(e, MODEL, content=bytes(200_000_000)))),
    "a bomb that says little": ("not of the 1000", lambda e: write(changed(e, MODEL, content=bytes(200_000_000), size=1000))),
    "less than is declared": ("not of the", lambda e: write(changed(e, MODEL, size=len(e[MODEL].content) + 1))),
    "stored, less than is declared": ("not of the 9", lambda e: write(changed(e, CONFIG, method=STORED, content=b"x", size=9))),
    "2 GB declared": ("would grow to", lambda e: write([huge(b"a"), huge(b"b"), huge(b"c")])),
    "many entries": ("at most 200", lambda e: write([Entry(name=b"%d" % i, content=b"") for i in range(201)])),
    "more behind the packed content": ("not of the", lambda e: write(changed(e, CONFIG, raw=e[CONFIG].packed() + b"more"))),
    "a wrong checksum": ("checksum is wrong", lambda e: write(changed(e, MODEL, crc=1))),
    "no packed content": ("is damaged", lambda e: write(changed(e, CONFIG, raw=bytes([255]) * 50))),
    # ------------------------------------------------------------------------------------------------ what does not belong
    "weights as a pickle": ("may be a pickle", lambda e: write(with_entry(e, name=b"weights.pth"))),
    "a pickle": ("may be a pickle", lambda e: write(with_entry(e, name=b"serving/x.PKL"))),
    "a checkpoint": ("may be a pickle", lambda e: write(with_entry(e, name=b"model.pt"))),
    "a file that nobody listed": ("does not belong", lambda e: write(with_entry(e, name=b"notes.txt"))),
    "a module that would be found first": ("does not belong", lambda e: write(with_entry(e, name=b"numpy.py"))),
    "packages to install": ("does not belong", lambda e: write(with_entry(e, name=b"requirements.txt"))),
    "a missing module": (
        "'serving/encoding/png.py' is missing",
        lambda e: write([v for k, v in e.items() if k != "serving/encoding/png.py"]),
    ),
    "no manifest": ("MANIFEST.json' is missing", lambda e: write([v for k, v in e.items() if k != MANIFEST])),
    "another entry point": ("not that of this version", lambda e: write(changed(e, HANDLER, content=b"import os"))),
    "another module": ("not that of this version", lambda e: write(changed(e, "contract/sampling.py", content=b""))),
    "another configuration": ("not that of this version", lambda e: write(changed(e, CONFIG, content=b"handler: {}"))),
    "another model": ("the manifest states", lambda e: write(changed(e, MODEL, content=tiny_onnx.grey()))),
    "nothing": ("no zip file", lambda e: b""),
    "no zip file": ("no zip file", lambda e: b"GIF89a" * 100),
    "half a file": ("nothing may follow|no zip", lambda e: write(list(e.values()))[:5000]),
}
