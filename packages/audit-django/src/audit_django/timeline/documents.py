"""What changed inside a JSON document: a tree of the entries that are not the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from audit_core.codec import from_plain
from audit_django.timeline.values import LONG, bdi, empty, fold, special_html

MAX_ENTRIES = 200  # shown of one document
MAX_DEPTH = 20


class Missing:
    """There is no such entry on this side."""


MISSING = Missing()


@dataclass
class Entry:
    """One key, or place in a list: with ``entries`` inside it, or with a value on each side."""

    key: str
    before: Any = MISSING
    after: Any = MISSING
    entries: list[Entry] = field(default_factory=list)


def changed_entries(before: Any, after: Any, depth: int = 0) -> list[Entry]:
    """The entries that differ. Entries of lists are compared by their place."""
    found = []
    for key, old, new in _pairs(before, after):
        if type(old) is type(new) and old == new:
            continue
        entry = Entry(key, old, new)
        if depth < MAX_DEPTH and _is_open(old) and _is_open(new):
            entry.entries = changed_entries(old, new, depth + 1)
        found.append(entry)
    return found


def _pairs(before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, list) or isinstance(after, list):
        olds, news = (side if isinstance(side, list) else [] for side in (before, after))
        for place in range(max(len(olds), len(news))):
            yield f"#{place + 1}", _at(olds, place), _at(news, place)
    else:
        old, new = (side if isinstance(side, Mapping) else {} for side in (before, after))
        for key in dict.fromkeys([*old, *new]):
            yield key, old.get(key, MISSING), new.get(key, MISSING)


def _at(items: list[Any], place: int) -> Any:
    return items[place] if place < len(items) else MISSING


def _is_open(value: Any) -> bool:
    """Whether a tree goes on inside: a document that is not empty, or a side that is missing."""
    return value is MISSING or (
        isinstance(value, list | Mapping) and bool(value) and special_html(value) is None
    )


def is_document(value: Any) -> bool:
    """Whether ``value`` is shown as a tree."""
    return value is not MISSING and _is_open(value)


def tree_html(before: Any, after: Any) -> SafeString:
    """The tree of what changed between two documents; with one side missing, the whole of the other."""
    budget = [MAX_ENTRIES]
    tree = _list_html(changed_entries(before, after), budget)
    if budget[0] >= 0:
        return tree
    more = ngettext(
        "and %s more entry: see the raw JSON", "and %s more entries: see the raw JSON", -budget[0]
    )
    return format_html('{}<p class="audit-note">{}</p>', tree, more % f"{-budget[0]:,}")


def _list_html(entries: list[Entry], budget: list[int]) -> SafeString:
    shown = []
    for entry in entries:
        budget[0] -= 1
        if budget[0] >= 0:
            shown.append(entry)
    return format_html(
        '<ul class="audit-tree">{}</ul>',
        format_html_join(
            "",
            '<li><bdi class="audit-key">{}</bdi> {}</li>',
            ((e.key, _entry_html(e, budget)) for e in shown),
        ),
    )


def _entry_html(entry: Entry, budget: list[int]) -> SafeString:
    if entry.entries:
        return _list_html(entry.entries, budget)
    sides = []
    if entry.before is not MISSING:
        sides.append(format_html("<del>{}</del>", _value_html(entry.before)))
    if entry.after is not MISSING:
        sides.append(format_html("<ins>{}</ins>", _value_html(entry.after)))
    arrow = format_html(' <span class="audit-note">{}</span> ', _("to"))
    return format_html_join(arrow, "{}", ((side,) for side in sides))


def _value_html(value: Any) -> SafeString:
    value = from_plain(value)
    if value is None or value in ("", [], {}):
        return empty()
    if isinstance(value, bool):
        return bdi(_("yes") if value else _("no"))
    if (html := special_html(value)) is not None:
        return html
    text = str(value)
    if len(text) <= LONG:
        return bdi(text)
    return format_html("<bdi>{}{}</bdi>", text[:LONG], fold(text[LONG:], label=_("the other %s characters")))
