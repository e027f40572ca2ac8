"""Fenced blocks of a Markdown page: commands, and the answers printed after them."""

from __future__ import annotations

import re
from dataclasses import dataclass

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
ANSWERS = ("json", "text")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    answer: str | None = None
    """Of commands: the block of an answer that follows with nothing between; None where nothing is printed."""

    @property
    def commands(self) -> list[str]:
        """Each command of a shell block, without its comment; an open quote or a backslash at the end joins lines."""
        found: list[str] = []
        for line in self.text.splitlines():
            line = re.sub(r"\s{2,}# .*$", "", line)
            if found and (found[-1].count("'") % 2 or found[-1].endswith("\\")):
                found[-1] += f"\n{line}"
            elif line:
                found.append(line)
        return found


def blocks(page: str) -> list[Block]:
    """The blocks of a page in order; an answer is part of the commands before it."""
    found: list[Block] = []
    end = 0
    for fence in FENCE.finditer(page):
        _, language, text = fence.groups()
        is_answer = language in ANSWERS and found and found[-1].language == "sh" and not page[end : fence.start()].strip()
        if is_answer:
            found[-1] = Block("sh", found[-1].text, text)
        else:
            found.append(Block(language, text))
        end = fence.end()
    return found


def agrees(printed: str, answer: str) -> bool:
    """Whether what was printed is the documented answer; white space does not count and ``...`` stands for anything."""
    parts = ("".join(part.split()) for part in answer.split("..."))
    return re.fullmatch(".*".join(map(re.escape, parts)), "".join(printed.split()), re.DOTALL) is not None
