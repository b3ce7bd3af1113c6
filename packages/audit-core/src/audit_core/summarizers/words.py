"""English below the level of a sentence: clean text, lists, numbers of things, cuts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from audit_core.privacy import is_sealed

HIDDEN = "(hidden)"
NAMED_IN_A_LIST = 3

_BREAKING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Overrides and isolates can make "from A to B" read as "from B to A"; the others are invisible.
_MISLEADING = re.compile("[\u200b\u202a-\u202e\u2060\u2066-\u2069\ufeff]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
# One word that cannot be taken for a part of the sentence around it, or a number as people write it (0171 1).
_BARE = re.compile(r"[^\s“”\"()]*[^\s“”\"().,;:!?—…]|[-+(]*\d[\d ()./-]*")
_QUOTED = re.compile("“[^“”]*”")


def text(value: object) -> str:
    """``value`` as one line of visible text, white space collapsed; empty for what is no text or number.

    A sealed value is :data:`HIDDEN`.
    """
    if type(value) is str:
        if value.isprintable() and "  " not in value and value[:1] != " " and value[-1:] != " ":
            return value
        value = _MISLEADING.sub("", _SURROGATE.sub("\ufffd", value))
        return " ".join(_BREAKING.sub(" ", value).split())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return text(str(value))
    return HIDDEN if is_sealed(value) else ""


def mapping(value: object) -> Mapping[str, Any]:
    """``value`` if it is a mapping, else an empty one: what an event holds was decoded, not validated."""
    return value if isinstance(value, Mapping) else {}


def clip(words: str, limit: int) -> str:
    """``words`` in at most ``limit`` (30 or more) characters: cut at a word, and what was cut is counted."""
    if len(words) <= limit:
        return words
    # The longest count is that of all the words; room for it is kept free.
    room = limit - len(f"… ({words.count(' '):,} more words)")
    cut = words.rfind(" ", 1, max(room, 0) + 1)
    if cut > 0:
        return f"{words[:cut].rstrip(' ,;:')}… ({counted(words.count(' ', cut), 'more word', 'more words')})"
    cut = limit - len(f"… ({len(words):,} more characters)")
    while cut > 1 and _belongs_together(words[cut - 1], words[cut]):
        cut -= 1
    return f"{words[:cut]}… ({counted(len(words) - cut, 'more character', 'more characters')})"


def _belongs_together(left: str, right: str) -> bool:
    """Whether a cut would split what people see as one character (accents, joined emoji, skin tones)."""
    zero_width_joiner = "\u200d"
    return (
        unicodedata.combining(right) != 0
        or zero_width_joiner in (left, right)
        or "\ufe00" <= right <= "\ufe0f"
        or "\U0001f3fb" <= right <= "\U0001f3ff"
    )


def quoted(words: str) -> str:
    """``words`` in typographic quotes where they could be taken for a part of the sentence."""
    return words if _BARE.fullmatch(words) or _QUOTED.fullmatch(words) else f"“{words}”"


def number(value: int | float | str) -> str:
    """A number with thousands separators and its own decimals; text that is no number as it is."""
    if isinstance(value, str):
        whole, point, decimals = value.partition(".")
        digits = whole.removeprefix("-")
        if not digits.isdecimal() or not digits.isascii() or len(digits) > 40:
            return text(value)
        return f"{'-' if whole != digits else ''}{int(digits):,}{point}{decimals}"
    return f"{value:,}"


def counted(n: int, one: str, many: str) -> str:
    """``n`` things: ``"1 document"``, ``"1,200 documents"``."""
    return f"{n:,} {one if n == 1 else many}"


def join(items: Sequence[str]) -> str:
    """Values in a list: ``"A"``, ``"A and B"``, ``"A, B and C"``."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def join_clauses(clauses: Sequence[str]) -> str:
    """Clauses, whose last comma keeps them apart from lists of values: ``"A, and B"``, ``"A, B, and C"``."""
    return (
        clauses[0]
        if len(clauses) == 1
        else f"{', '.join(clauses[:-1])}, and {clauses[-1]}"
        if clauses
        else ""
    )


def listed(items: Sequence[str]) -> str:
    """A list that names three and counts the rest: ``"A, B, C and 4 more"``."""
    if len(items) <= NAMED_IN_A_LIST:
        return join(items)
    return join([*items[:NAMED_IN_A_LIST], f"{len(items) - NAMED_IN_A_LIST:,} more"])


@lru_cache(maxsize=4096)
def lower(words: str) -> str:
    """``words`` as they stand inside a sentence: "Risk Class" is lowered, "VAT number" and "ID" are not."""
    return " ".join(word.lower() if word[1:].islower() else word for word in words.split(" "))


def with_article(noun: str) -> str:
    """``noun`` with "a" or "an", by its sound as far as letters tell."""
    word = noun.split(" ")[0]
    if len(word) > 1 and word.isupper():
        vowel = word[0] in "AEFHILMNORSX"  # spelled out: an SMS, a UUID
    else:
        sounds_like_consonant = word.lower().startswith(("uni", "use", "usa", "eu", "one", "once", "ut"))
        vowel = word[:1].lower() in "aeiou" and not sounds_like_consonant
        vowel = vowel or word.lower().startswith(("hour", "honest", "heir"))
    return f"{'an' if vowel else 'a'} {noun}"


_IRREGULAR = {"person": "people", "child": "children", "man": "men", "woman": "women"}
_IRREGULAR_BACK = {many: one for one, many in _IRREGULAR.items()}


@lru_cache(maxsize=4096)
def plural(noun: str) -> str:
    """The plural of ``noun`` by the rules of spelling, for where no better word was given."""
    head, space, last = noun.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("y") and last[-2:-1] not in tuple("aeiou"):
        last = last[:-1] + "ies"
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        last += "es"
    else:
        last += "s"
    return f"{head}{space}{last}"


@lru_cache(maxsize=4096)
def singular(noun: str) -> str:
    """The singular of ``noun``; a word that is none already stays as it is."""
    head, space, last = noun.rpartition(" ")
    if last in _IRREGULAR_BACK:
        last = _IRREGULAR_BACK[last]
    elif last.endswith("ies") and len(last) > 4 and last not in ("series", "species"):
        last = last[:-3] + "y"
    elif last.endswith(("sses", "xes", "ches", "shes", "zzes", "iases")) or (
        last.endswith("uses") and not last.endswith(("auses", "ouses"))
    ):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith(("ss", "us", "is", "series", "species")):
        last = last[:-1]
    return f"{head}{space}{last}"
