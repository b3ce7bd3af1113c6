"""What is said of a new object beside its label."""

from __future__ import annotations

from collections.abc import Iterable

from audit_core.diff import MANY_TO_MANY, Change
from audit_core.privacy import is_sealed
from audit_core.summarizers.telling import AUTOMATIC_RANK, is_measured, is_of, is_reference, rank
from audit_core.summarizers.values import MONEY_TYPES, Style, field_words, is_empty, shown
from audit_core.summarizers.words import mapping, text


def said_on_create(changes: Iterable[Change], label: str, style: Style) -> tuple[str, list[str]]:
    """What to say of a new object labelled ``label``: whom it is for, and up to three of its values.

    Status, choices and money say what it is; only an object with none of them is told by its other values.
    """
    parent = ""
    best: list[str] = []
    others: list[str] = []
    for change in changes:
        if not _says_something(change):
            continue
        name = field_words(change, style)
        words = shown(change.after, change, style, display=text(mapping(change.display).get("after")))
        if f" {words.strip('“”')} " in f" {label} ":
            continue
        if is_reference(change) and not parent and _is_parent(change, name):
            parent = _named_once(name, words)
        elif rank(change) == 0 or is_of(change, MONEY_TYPES):
            best.append(f"{name} {words}")
        else:
            others.append(f"{name} {words}")
    return parent, (best or others)[: style.clauses]


def _says_something(change: Change) -> bool:
    """Empty, automatic and hidden values say nothing; long ones, documents and booleans nothing in short."""
    value = change.after
    if change.relation == MANY_TO_MANY or change.sensitive or rank(change) == AUTOMATIC_RANK:
        return False
    if is_empty(value) or is_sealed(value) or isinstance(value, bool) or is_measured(value, change):
        return False
    return is_reference(change) or not isinstance(value, list | tuple | dict)


# Relations that say what kind of thing an object is, or who deals with it; a thing is made "for" others.
# fmt: off
_NO_PARENTS = frozenset({
    "agent", "approver", "assignee", "author", "broker", "by", "category", "class", "country", "creator",
    "currency", "editor", "group", "handler", "kind", "language", "level", "manager", "method", "owner",
    "product", "reviewer", "state", "status", "tag", "template", "tenant", "type",
})
# fmt: on


def _is_parent(change: Change, name: str) -> bool:
    return change.role != "owner" and name.rpartition(" ")[2] not in _NO_PARENTS


def _named_once(name: str, words: str) -> str:
    """``"Jane Doe"``, but ``"claim C-88"``: what is numbered says too little without its kind."""
    numbered = any(map(str.isdigit, words))
    return f"{name} {words}" if numbered and name not in words.lower() else words
