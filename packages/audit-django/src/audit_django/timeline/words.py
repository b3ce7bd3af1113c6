"""Which words of a text changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

MAX_EDITS = 300  # pieces that differ before a coarser comparison is tried: a second at worst
MIN_LIKENESS = 0.3  # below it two texts have nothing to say to each other: one was replaced by the other

# A word keeps the space after it; ASCII punctuation and each CJK character stand alone. Marks, joiners and
# emoji are never torn off their word.
_CJK, _ASCII = r"\u3040-\u30ff\u3400-\u9fff", r".,;:!?()\"'\[\]{}"
_WORDS = re.compile(rf"[{_CJK}]\s*|[{_ASCII}]+\s*|[^\s{_ASCII}{_CJK}]+\s*|\s+")
_SENTENCES = re.compile(r"[^.!?\n]*[.!?\n]+\s*|[^.!?\n]+")

Blocks: TypeAlias = Sequence[tuple[int, int, int]]  # what is the same: place in the old, in the new, length


class Piece(NamedTuple):
    """A run of text, and whether it is one of those that changed."""

    text: str
    changed: bool


def compare(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """``before`` and ``after`` in pieces; joined, they are the texts again.

    Words are compared; where too many differ, sentences; else the texts as a whole.
    """
    for split in (_WORDS, _SENTENCES):
        old, new = split.findall(before), split.findall(after)
        blocks = matching_blocks(old, new)
        if blocks is None:
            continue
        same = sum(len("".join(old[start : start + size])) for start, _place, size in blocks)
        if 2 * same < MIN_LIKENESS * (len(before) + len(after)):
            break
        return (
            _pieces(old, [(start, size) for start, _place, size in blocks]),
            _pieces(new, [(place, size) for _start, place, size in blocks]),
        )
    return [Piece(before, True)] if before else [], [Piece(after, True)] if after else []


def matching_blocks(old: Sequence[str], new: Sequence[str]) -> Blocks | None:
    """What a shortest edit leaves alone (Myers, 1986); ``None`` when it takes over :data:`MAX_EDITS`.

    Its cost depends on how much differs, not on how often a word occurs, so no text makes it slow.
    """
    shorter = min(len(old), len(new))
    head = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    tail = next((i for i in range(shorter - head) if old[-1 - i] != new[-1 - i]), shorter - head)
    a, b = old[head : len(old) - tail], new[head : len(new) - tail]
    steps = _shortest_edit(a, b)
    if steps is None:
        return None
    middle = [(head + x, head + y, size) for x, y, size in steps]
    return [(0, 0, head), *middle, (len(old) - tail, len(new) - tail, tail)]


def _shortest_edit(a: Sequence[str], b: Sequence[str]) -> Blocks | None:
    n, m = len(a), len(b)
    reach = {1: 0}  # the furthest place in a on each diagonal (place in a minus place in b)
    history = []
    for edits in range(min(MAX_EDITS, n + m) + 1):
        history.append(reach.copy())
        for k in range(-edits + 2 * max(0, edits - m), edits - 2 * max(0, edits - n) + 1, 2):
            down = k == -edits or (k != edits and reach.get(k - 1, -1) < reach.get(k + 1, -1))
            x = reach[k + 1] if down else reach[k - 1] + 1
            while x < n and x - k < m and a[x] == b[x - k]:
                x += 1
            reach[k] = x
            if k == n - m and x >= n:
                return _walked_back(history, n, m)
    return None


def _walked_back(history: Sequence[dict[int, int]], x: int, y: int) -> Blocks:
    blocks = []
    for edits in range(len(history) - 1, -1, -1):
        reach, k = history[edits], x - y
        down = k == -edits or (k != edits and reach.get(k - 1, -1) < reach.get(k + 1, -1))
        k_before = k + 1 if down else k - 1
        x_before = reach[k_before] if edits else 0
        start = (x_before if down else x_before + 1) if edits else 0
        if x > start:
            blocks.append((start, start - k, x - start))
        x, y = x_before, x_before - k_before
    return blocks[::-1]


def _pieces(tokens: Sequence[str], same: Sequence[tuple[int, int]]) -> list[Piece]:
    return list(_merged(_runs(tokens, same)))


def _runs(tokens: Sequence[str], same: Sequence[tuple[int, int]]) -> Iterator[Piece]:
    position = 0
    for start, size in same:
        yield Piece("".join(tokens[position:start]), True)
        yield Piece("".join(tokens[start : start + size]), False)
        position = start + size
    yield Piece("".join(tokens[position:]), True)


def _merged(runs: Iterator[Piece]) -> Iterator[Piece]:
    """Neighbors of one kind in one piece."""
    text, kind = "", False
    for run in runs:
        if not run.text:
            continue
        if run.changed != kind and text:
            yield Piece(text, kind)
            text = ""
        text, kind = text + run.text, run.changed
    if text:
        yield Piece(text, kind)
