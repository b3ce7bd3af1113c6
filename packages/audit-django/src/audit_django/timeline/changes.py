"""The diff of an event as the detail shows it: field, before, after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from audit_core.diff import MANY_TO_MANY, Change, in_model_order
from audit_core.event import Event
from audit_django.timeline.documents import MISSING, is_document, tree_html
from audit_django.timeline.values import bdi, empty, fold, scalar_text, special_html, value_html
from audit_django.timeline.words import Piece, compare

SHOWN = 20  # changes before the rest is folded
CONTEXT_WORDS = 12  # kept on each side of what changed inside a long text
FOLD_WORDS = 40  # an unchanged run is folded from here on

_PROSE = frozenset({"CharField", "TextField", "SlugField", "EmailField", "URLField", None})


@dataclass(frozen=True, slots=True)
class ShownChange:
    """One row of the table; ``tree`` takes the place of both columns."""

    name: str
    field: str
    before: SafeString | None = None
    after: SafeString | None = None
    tree: SafeString | None = None


@dataclass(frozen=True, slots=True)
class ShownDiff:
    """The table: ``sides`` are the columns that have anything to say (``before``, ``after``)."""

    first: Sequence[ShownChange]
    rest: Sequence[ShownChange]
    sides: Sequence[str]


def shown_diff(event: Event) -> ShownDiff:
    """The changes of ``event`` in model order. A created object has nothing before, a deleted none after."""
    sides = {"create": ("after",), "delete": ("before",)}.get(event.action, ("before", "after"))
    if any(
        change.relation != MANY_TO_MANY and getattr(change, side) not in (None, "")
        for change in event.diff.values()
        for side in {"before", "after"} - set(sides)
    ):
        sides = ("before", "after")  # an action of this name that is not ours
    changes = [shown_change(change, sides) for change in in_model_order(event.diff)]
    return ShownDiff(changes[:SHOWN], changes[SHOWN:], sides)


def shown_change(change: Change, sides: Sequence[str] = ("before", "after")) -> ShownChange:
    """``change`` as one row."""
    if change.relation == MANY_TO_MANY:
        return ShownChange(
            change.name, change.field, _items(change.removed, "del"), _items(change.added, "ins")
        )
    before, after = change.before, change.after
    if not change.sensitive and (is_document(before) or is_document(after)):
        old = before if is_document(before) else MISSING
        new = after if is_document(after) else MISSING
        if (old is MISSING and before not in (None, "", [], {})) or (
            new is MISSING and after not in (None, "", [], {})
        ):
            return ShownChange(change.name, change.field, *_either(change))  # a document against a scalar
        return ShownChange(change.name, change.field, tree=tree_html(old, new))
    if _is_prose(change):
        old_pieces, new_pieces = compare(before, after)
        return ShownChange(change.name, change.field, _marked(old_pieces, "del"), _marked(new_pieces, "ins"))
    if len(sides) == 1:
        return ShownChange(
            change.name,
            change.field,
            value_html(before, change, "before"),
            value_html(after, change, "after"),
        )
    return ShownChange(change.name, change.field, *_either(change))


def _either(change: Change) -> tuple[SafeString, SafeString]:
    return _wrapped(change, "before", "del"), _wrapped(change, "after", "ins")


def _wrapped(change: Change, side: str, tag: str) -> SafeString:
    value = getattr(change, side)
    if is_document(value) and not change.sensitive:
        return tree_html(value, MISSING) if side == "before" else tree_html(MISSING, value)
    html = value_html(value, change, side)
    if value in (None, "", [], {}) or change.sensitive:
        return html  # nothing was struck out, nothing was written
    return format_html(f"<{tag}>{{}}</{tag}>", html)


def _is_prose(change: Change) -> bool:
    return (
        not change.sensitive
        and not change.display
        and change.field_type in _PROSE
        and isinstance(change.before, str)
        and isinstance(change.after, str)
        and bool(change.before and change.after)
    )


def _marked(pieces: Sequence[Piece], tag: str) -> SafeString:
    parts: list[str] = []
    for position, piece in enumerate(pieces):
        if piece.changed:
            text = piece.text.rstrip()
            # White space alone is marked too: it is what changed.
            parts.append(
                format_html(
                    f"<{tag}>{{}}</{tag}>{{}}", text or piece.text, piece.text[len(text) :] if text else ""
                )
            )
        else:
            parts.append(_folded(piece.text, first=position == 0, last=position == len(pieces) - 1))
    html = mark_safe("".join(parts))  # noqa: S308  escaped above
    return format_html('<div class="audit-text" dir="auto">{}</div>', html)


def _folded(text: str, *, first: bool, last: bool) -> SafeString | str:
    runs = text.split(" ")
    keep_head, keep_tail = 0 if first else CONTEXT_WORDS, 0 if last else CONTEXT_WORDS
    if len(runs) < keep_head + keep_tail + FOLD_WORDS:
        return format_html("{}", text)
    end = len(runs) - keep_tail
    head, middle, tail = (" ".join(part) for part in (runs[:keep_head], runs[keep_head:end], runs[end:]))
    return format_html("{}{}{}", head, fold(middle), tail)


def _items(references: Sequence[Any], tag: str) -> SafeString:
    if not references:
        return empty()
    rows = (((special_html(item) or bdi(scalar_text(item, None) or str(item))),) for item in references)
    return format_html(
        '<ul class="audit-items">{}</ul>', format_html_join("", f"<li><{tag}>{{}}</{tag}></li>", rows)
    )
