"""The cache of answers: bounded in bytes, and without what was used longest ago."""

from __future__ import annotations

from serving.generation.response_cache import OVERHEAD, ResponseCache


def test_the_cache_drops_what_was_used_longest_ago() -> None:
    """Bounded in bytes with each entry's overhead: the least recently used goes, a huge one is not let in."""
    sizes: list[float] = []
    cache = ResponseCache(4 * (OVERHEAD + 100), sizes.append)
    for key in "abcd":
        cache.keep(key, key.encode() * 100)
    assert cache.find("a") == b"a" * 100
    cache.keep("e", b"e" * 100)
    assert [key for key in "abcde" if cache.find(key)] == ["a", "c", "d", "e"]
    cache.keep("a", b"A" * 50)
    cache.keep("huge", b"x" * 1000)
    assert (cache.find("a"), cache.find("huge"), sizes[-1]) == (b"A" * 50, None, 4 * OVERHEAD + 350)


def test_a_cache_of_nothing_keeps_nothing() -> None:
    """A limit of 0 turns it off."""
    cache = ResponseCache(0, lambda size: None)
    cache.keep("a", b"")
    assert cache.find("a") is None


def test_a_body_that_is_kept_again_counts_once() -> None:
    """Two requests that computed the same body keep it one after the other; the second pushes nothing out."""
    sizes: list[float] = []
    cache = ResponseCache(4 * (OVERHEAD + 100), sizes.append)
    for key in ("a", "b", "a", "c", "a", "d"):
        cache.keep(key, bytes(100))
    assert sizes[-1] == 4 * (OVERHEAD + 100)
    assert all(cache.find(key) for key in "abcd")
