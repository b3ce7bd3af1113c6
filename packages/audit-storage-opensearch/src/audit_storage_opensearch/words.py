"""The words by which an event is found: those of the database storage, and those of the context behind them.

Both sides of a search are cut into words here, not by an analyzer, so that every store finds the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import Any

from audit_core.privacy import is_sealed

WORD = re.compile(r"[^\W_]{1,400}")
_ASCII_WORD = re.compile(r"[^\W_]{1,400}", re.ASCII)  # the same, twice as fast
MAX_VALUE_CHARACTERS = 500  # of one value
MAX_CHARACTERS = 8000  # of one event
MOST_WORDS = 250  # of one search; OpenSearch takes 1,024 clauses
_MOST_ITEMS = 20  # of one list or document


def words_of(text: str) -> list[str]:
    """The words of ``text`` in lower case, each once, in their order."""
    text = text.lower()
    return list(dict.fromkeys((_ASCII_WORD if text.isascii() else WORD).findall(text)))


def search_words(data: Mapping[str, Any], summary: str | None) -> str:
    """The different words of an event's labels, values, reason, sentence and context, with spaces between them.

    ``data`` is its JSON form. Nothing of a sealed value is among them, nor its mask.
    """
    text = " ".join(words_of(" ".join(filter(None, _texts(data, summary)))))
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS].rsplit(" ", 1)[0]


def _texts(data: Mapping[str, Any], summary: str | None) -> list[str | None]:
    context = data.get("context", {})
    texts: list[str | None] = [data["action"]]
    if actor := data.get("actor"):
        texts += (actor.get("repr"), actor.get("username"), actor.get("email"))
    if target := data.get("target"):
        texts += (
            target.get("kind") or target["type"].rpartition(".")[2],
            target.get("repr"),
            target.get("id"),
        )
    texts += [related.get("repr") for related in data.get("related", ())]
    texts += (data.get("reason"), context.get("ip"))
    for change in data.get("diff", {}).values():
        texts.append(change.get("label") or change["field"])
        if not change.get("sensitive"):
            texts += change.get("display", {}).values()
            for value in (
                change.get("before"),
                change.get("after"),
                *change.get("added", ()),
                *change.get("removed", ()),
            ):
                texts += _value_texts(value)
    # Context that the database storage does not look into stands last, where a limit cuts it off first.
    return [*texts, summary, *map(context.get, ("path", "user_agent", "request_id", "source"))]


def _value_texts(value: Any) -> Iterable[str]:
    match value:
        case str():
            return (value[:MAX_VALUE_CHARACTERS],)
        case None | bool():
            return ()
        case int() | float():
            return (str(value),)
        case {"repr": label}:
            return _value_texts(label)  # which may be sealed
        case {"base64": _} | {"sha256": _}:
            return ()
        case dict() if is_sealed(value):
            return ()
        case dict():
            return _each(value.values())
    return _each(value)


def _each(values: Iterable[Any]) -> Iterable[str]:
    return chain.from_iterable(map(_value_texts, islice(values, _MOST_ITEMS)))
