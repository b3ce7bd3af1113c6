"""From changes to clauses: one field, one clause, the most telling first (rules 3 to 7)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from audit_core.diff import MANY_TO_MANY, Change
from audit_core.privacy import is_sealed
from audit_core.summarizers import documents
from audit_core.summarizers.parties import Thing
from audit_core.summarizers.telling import AUTOMATIC_RANK, is_measured, is_of, is_reference, rank
from audit_core.summarizers.values import (
    BINARY_TYPES,
    DATE_TYPES,
    DAY_TYPES,
    Style,
    field_words,
    is_empty,
    reference,
    shown,
    size,
)
from audit_core.summarizers.verbs import Verb
from audit_core.summarizers.words import (
    HIDDEN,
    counted,
    join,
    join_clauses,
    listed,
    mapping,
    plural,
    singular,
    text,
)

CHANGED = Verb("changed", "change")
_SET = Verb("set", "set")
_CLEARED = Verb("cleared", "clear")
_MOVED = Verb("moved", "move")
_ADDED = Verb("added", "add")
_REMOVED = Verb("removed", "remove")
_TURNED_ON = Verb("turned on", "turn on")
_TURNED_OFF = Verb("turned off", "turn off")
_WROTE = Verb("wrote", "write")
_REWROTE = Verb("rewrote", "rewrite")
_REPLACED = Verb("replaced", "replace")

_SWITCH_VERB = re.compile("^(is|has|enable) (?=.)")
_UNFINISHED = frozenset({"after", "at", "before", "by", "from", "on", "since", "till", "to", "until"})
# How a verb is tied to the object that the sentence is about; all others have the field "of" it.
_LINKS = {_ADDED: "to", _REMOVED: "from", _TURNED_ON: "for", _TURNED_OFF: "for"}


class Clause(NamedTuple):
    """A verb, then the field (``head``), the object and the values (``tail``).

    ``alone`` is the tail where no other clause is near, if that is another.
    """

    verb: Verb
    head: str
    tail: str = ""
    alone: str = ""


def changes_words(
    changes: Sequence[Change], thing: Thing, style: Style, *, failed: bool, named: bool = False
) -> str:
    """Verb and object for these changes: ``"changed the status of policy P-1007 from Pending to Approved"``.

    ``failed`` gives the form that follows "tried to"; ``named`` says that the sentence has named the object
    already.
    """
    telling = [change for change in changes if rank(change) < AUTOMATIC_RANK] or changes
    said = telling[: style.clauses]
    # What the model sets by itself is not worth a clause, but where fields are counted all of them are.
    left = len(changes) - len(said) if len(telling) > len(said) else 0
    clauses = [clause for change in said for clause in _clauses(change, style)]
    if not clauses:
        return f"{CHANGED.form(failed)} {counted(left, 'field', 'fields')}{_tie('of', thing.words)}"
    groups: dict[Verb, list[Clause]] = {}
    for clause in clauses:
        groups.setdefault(clause.verb, []).append(clause)
    rest = [counted(left, "more field", "more fields")] if left else []
    words: list[str] = []
    for verb, members in groups.items():
        items = _items(verb, members, thing, named=named or bool(words), only=len(clauses) == 1 and not left)
        if rest and verb is CHANGED and len(words) == len(groups) - 1:
            items, rest = [*items, *rest], []
            words.append(f"{verb.form(failed)} {join_clauses(items)}")
        else:
            words.append(f"{verb.form(failed)} {join_clauses(items) if len(items) > 2 else join(items)}")
    words += [f"{CHANGED.form(failed)} {more}" for more in rest]
    return join_clauses(words)


def _items(verb: Verb, clauses: list[Clause], thing: Thing, *, named: bool, only: bool) -> list[str]:
    if verb is _MOVED:
        first = thing.pronoun if named else thing.words or "it"
        return [f"{first if n == 0 else thing.pronoun}{clause.tail}" for n, clause in enumerate(clauses)]
    if link := _LINKS.get(verb):
        items = [clause.head for clause in clauses]
        if not named:
            items[-1] += _tie(link, thing.words)
        return items
    items = [f"{clause.head}{clause.tail}" for clause in clauses]
    if not named:
        first_clause = clauses[0]
        tail = first_clause.alone if only and first_clause.alone else first_clause.tail
        items[0] = f"{first_clause.head}{_tie('of', thing.words)}{tail}"
    return items


def _tie(link: str, words: str) -> str:
    return f" {link} {words}" if words else ""


def _clauses(change: Change, style: Style) -> list[Clause]:
    if change.relation == MANY_TO_MANY:
        return _many(change, style)
    head = f"the {_noun(change, style)}"
    before, after = change.before, change.after
    had, has = not is_empty(before), not is_empty(after)
    if change.sensitive or is_sealed(before) or is_sealed(after):
        verb = CHANGED if had and has else _SET if has else _CLEARED
        return [Clause(verb, head, f" {HIDDEN}")]
    if change.role == "switch" and isinstance(after, bool):
        return [Clause(_TURNED_ON if after else _TURNED_OFF, head.removeprefix("the "))]
    if any(is_measured(value, change) for value in (before, after)) and _are_sizes(before, after):
        return [_measured(change, head)]
    display = mapping(change.display)
    old, new = (text(display.get(side)) for side in ("before", "after"))
    if not has:
        was = f" (was {shown(before, change, style, display=old)})" if had else ""
        return [Clause(_CLEARED, head, was)]
    if not had:
        return [Clause(_SET, head, f" to {shown(after, change, style, display=new)}")]
    if isinstance(before, dict) and isinstance(after, dict) and not is_reference(change):
        return [_document(before, after, head)]
    was, now = shown(before, change, style, display=old), shown(after, change, style, display=new)
    if was == now:
        was = shown(before, change, style, display=old, exact=True)
        now = shown(after, change, style, display=new, exact=True)
    if was == now:
        spacing = isinstance(before, str) and isinstance(after, str)
        return [Clause(CHANGED, f"the spacing in {head}" if spacing else head)]
    if change.role == "owner":
        return [Clause(_MOVED, head, f" from {was} to {now}")]
    return [Clause(CHANGED, head, f" from {was} to {now}")]


def _noun(change: Change, style: Style) -> str:
    """The field as a noun: the date "valid until" is "valid until date"; the switch "is active", "active"."""
    name = field_words(change, style)
    if change.role == "switch":
        return _SWITCH_VERB.sub("", name)
    if is_of(change, DATE_TYPES) and name.rpartition(" ")[2] in _UNFINISHED:
        return f"{name} {'date' if is_of(change, DAY_TYPES) else 'time'}"
    return name


def _many(change: Change, style: Style) -> list[Clause]:
    label = field_words(change, style)
    sides = ((_ADDED, _entries(change.added)), (_REMOVED, _entries(change.removed)))
    if change.sensitive or not any(entries for _, entries in sides):
        return [Clause(CHANGED, f"the {label}", f" {HIDDEN}" if change.sensitive else "")]
    one = singular(label)
    clauses = []
    for verb, entries in sides:
        if entries:
            names = listed([reference(entry, style) for entry in entries])
            clauses.append(Clause(verb, f"the {one if len(entries) == 1 else plural(one)} {names}"))
    return clauses


def _entries(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _are_sizes(*values: Any) -> bool:
    """Whether each value is nothing or can be measured: a text and a number cannot be compared."""
    return all(is_empty(value) or size(value) for value in values)


def _measured(change: Change, head: str) -> Clause:
    old, new = size(change.before), size(change.after)
    binary = is_of(change, BINARY_TYPES) or "byte" in {measured[1] for measured in (old, new) if measured}
    unit = "byte" if binary else "character"
    if not new or not new[0]:
        return Clause(_CLEARED, head, f" (was {counted(old[0], unit, f'{unit}s')})" if old else "")
    now = counted(new[0], unit, f"{unit}s")
    if not old or not old[0]:
        return Clause(_SET if binary else _WROTE, head, f" ({now})")
    sizes = f"still {now}" if old[0] == new[0] else f"{old[0]:,} to {now}"
    return Clause(_REPLACED if binary else _REWROTE, head, f" ({sizes})")


def _document(before: Any, after: Any, head: str) -> Clause:
    entries = documents.entries(before, after)
    if not entries:
        return Clause(CHANGED, head)
    named = [*entries[:3], *([f"{len(entries) - 3:,} more"] if len(entries) > 3 else [])]
    count = counted(len(entries), "entry", "entries")
    return Clause(CHANGED, f"{count} of {head}", f" ({listed(entries)})", f": {join_clauses(named)}")
