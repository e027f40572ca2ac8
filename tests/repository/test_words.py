"""Documentation, docstrings and comments are plain technical English: a list of words to avoid, each with what to say."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository.files import files, name_of

AVOID = {
    r"who(?:m|so)?ever": "name the subject",
    r"whatever": "name the things",
    r"(?:no|some|any)body(?:'s)?": "name the subject",
    r"told": "given, named, informed",
    r"what\s+there\s+is": "what is available",
    r"for\s+ever": "always, without end",
    r"beside": "next to, in addition to",
    r"so\s+many": "that many, the number",
    r"hears?|heard": "receive",
    r"fallen|fell": "crashed, dropped",
    r"bur(?:y|ies|ied)": "reap, remove",
    r"company": "other requests, other processes",
    r"the\s+lane": "the fast path",
    r"farewell": "on exit",
    r"(?<!in[- ])flights?": "computation in flight",
    r"visits?": "request context",
    r"judge(?!:)s?|judged|judging": "classifier, discriminator",
    r"dealt|deals?": "sampled, drawn",
}
"""Words that engineers stumble over, and the field's words."""
PATTERN = re.compile(rf"\b(?:{'|'.join(AVOID)})\b", re.IGNORECASE)
HISTORY = re.compile(r"docs/(?:LOG|RESULTS|SCOREBOARD)\.md|docs/decisions/00(?:0\d|1[0-2])-.*|docs/scoreboard/.*")
"""Pages that record the past, and one that is generated."""
THIS = "tests/repository/test_words.py"


def prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    """Comments and strings that stand alone as a statement, with their lines."""
    is_start = True
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and is_start):
            yield token.start[0], token.string
        if token.type not in (tokenize.COMMENT, tokenize.NL):
            is_start = token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING)


def prose_of_comments(text: str) -> Iterator[tuple[int, str]]:
    """The comments of YAML, TOML, a Makefile or a Dockerfile, with their lines; a target's help is one."""
    for number, line in enumerate(text.splitlines(), 1):
        if comment := re.search(r"(?:^|\s)#.*", line):
            yield number, comment.group()


def prose_of_markdown(text: str) -> Iterator[tuple[int, str]]:
    """Lines outside of code; of a changelog the newest section."""
    if text.startswith("# Changes"):
        text = "\n## ".join(text.split("\n## ")[:2])
    is_code = False
    for number, line in enumerate(text.splitlines(), 1):
        is_code ^= line.lstrip().startswith("```")
        if not is_code:
            yield number, re.sub(r"`[^`]*`|\]\([^)]*\)", "", line)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """What a file says to its readers, line by line."""
    match path.suffix, path.name:
        case ".py", _:
            yield from prose_of_python(path.read_text())
        case ".md", _:
            yield from prose_of_markdown(path.read_text())
        case (".yaml" | ".yml" | ".toml", _) | (_, "Makefile" | "Dockerfile.train" | "Dockerfile.serve"):
            yield from prose_of_comments(path.read_text())


def findings(path: Path) -> list[str]:
    """Each word to avoid, as ``line: word (what to say)``."""
    return [
        f"{number + text.count(chr(10), 0, found.start())}: {found.group()} ({instead(found.group())})"
        for number, text in prose(path)
        for found in PATTERN.finditer(text)
    ]


def instead(word: str) -> str:
    """What to say in the place of a word of the list."""
    return next(say for pattern, say in AVOID.items() if re.fullmatch(pattern, word, re.IGNORECASE))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [".py", ".md", "other"])
def test_no_word_is_a_riddle(kind: str) -> None:
    """No prose of the repository uses a word of the list."""
    chosen = [
        path
        for path in files()
        if (path.suffix if path.suffix in (".py", ".md") else "other") == kind
        and name_of(path) != THIS
        and not HISTORY.fullmatch(name_of(path))
    ]
    assert {name_of(path): found for path in chosen if (found := findings(path))} == {}


@pytest.mark.parametrize("source", ['"""A visit."""\n', "x = 1  # told\n", "def f():\n    '''Whoever.'''\n"])
def test_the_scan_finds(source: str) -> None:
    """A docstring, a comment and an inner docstring are prose."""
    assert any(PATTERN.search(text) for _, text in prose_of_python(source))


@pytest.mark.parametrize("source", ['x = "told"\n', "judge = 1\n", "f('whoever')\n"])
def test_the_scan_lets_pass(source: str) -> None:
    """Values and identifiers are no prose."""
    assert not any(PATTERN.search(text) for _, text in prose_of_python(source))
