"""Which words of a text changed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

MAX_PAIRS = 200_000  # of equal pieces: what a comparison costs. The words of ten thousand stay far below it.
MIN_LIKENESS = 0.3  # below it two texts have nothing to say to each other: one was replaced by the other

# A word keeps the space after it; ASCII punctuation and each CJK character stand alone. Marks, joiners and emoji are never
# torn off their word.
_CJK, _ASCII = r"\u3040-\u30ff\u3400-\u9fff", r".,;:!?()\"'\[\]{}"
_WORDS = re.compile(rf"[{_CJK}]\s*|[{_ASCII}]+\s*|[^\s{_ASCII}{_CJK}]+\s*|\s+")
_SENTENCES = re.compile(r"[^.!?\n]*[.!?\n]+\s*|[^.!?\n]+")


class Piece(NamedTuple):
    """A run of text, and whether it is one of those that changed."""

    text: str
    changed: bool


def compare(before: str, after: str) -> tuple[list[Piece], list[Piece]]:
    """``before`` and ``after`` in pieces; joined, they are the texts again.

    Words are compared where that is affordable, else sentences, else the texts as a whole.
    """
    for split in (_WORDS, _SENTENCES):
        old, new = split.findall(before), split.findall(after)
        head, tail = _common_ends(old, new)
        middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
        if _pairs(middle_old, middle_new) > MAX_PAIRS:
            continue
        matcher = SequenceMatcher(None, middle_old, middle_new)
        blocks = list(matcher.get_matching_blocks())
        same = sum(len(piece) for piece in old[:head] + old[len(old) - tail :])
        same += sum(len("".join(middle_old[block.a : block.a + block.size])) for block in blocks)
        if 2 * same < MIN_LIKENESS * (len(before) + len(after)):
            break
        first = [(head + block.a, block.size) for block in blocks]
        second = [(head + block.b, block.size) for block in blocks]
        return _pieces(old, head, tail, first), _pieces(new, head, tail, second)
    return [Piece(before, True)] if before else [], [Piece(after, True)] if after else []


def _common_ends(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    shorter = min(len(old), len(new))
    head = next((i for i in range(shorter) if old[i] != new[i]), shorter)
    tail = next((i for i in range(shorter - head) if old[-1 - i] != new[-1 - i]), shorter - head)
    return head, tail


def _pairs(old: Sequence[str], new: Sequence[str]) -> int:
    counts = Counter(new)
    return sum(n * counts[piece] for piece, n in Counter(old).items())


def _pieces(tokens: Sequence[str], head: int, tail: int, same: Sequence[tuple[int, int]]) -> list[Piece]:
    end = len(tokens) - tail
    return list(_merged(_runs(tokens, [(0, head), *same, (end, tail)])))


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
