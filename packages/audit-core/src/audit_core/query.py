"""What can be asked of a storage that can search, and how the answer is paged."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from audit_core.errors import AuditError
from audit_core.event import RecordedEvent

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000


class InvalidQuery(AuditError, ValueError):
    """A filter that cannot be answered; ``filter`` names it, so that a page can say which one to drop."""

    def __init__(self, message: str, *, filter: str | None = None) -> None:
        super().__init__(message)
        self.filter = filter


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQuery:
    """Filters, all of which must hold. What is empty does not filter.

    The answer comes newest first. The history of one object (``target_type`` and ``target_id`` given) is in
    the order in which its changes were made, never by a clock; everything else is by ``occurred_at``, ties
    broken by the order of recording.

    - ``text``: words, all of which occur in the labels, values or sentence of an event.
    - ``target_types``: any of these types; ``target_id`` needs at least one.
    - ``field``: events that changed this field.
    - ``since`` is inclusive, ``until`` exclusive; both aware.
    - ``tenants``: ``None`` for all; an empty sequence matches nothing.
    - ``cursor``: where to go on, as :attr:`Page.next` gave it; ``newer`` turns the direction, for live
      updates: the ``limit`` events that come next after the cursor, still newest first. Go on from
      :attr:`Page.newest`.
    """

    text: str = ""
    target_types: Sequence[str] = ()
    target_id: str | None = None
    actor_id: str | None = None
    categories: Sequence[str] = ()
    actions: Sequence[str] = ()
    outcome: str | None = None
    field: str | None = None
    request_id: str | None = None
    tenants: Sequence[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = DEFAULT_LIMIT
    cursor: str | None = None
    newer: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise InvalidQuery(
                f"limit is {self.limit}; it must be between 1 and {MAX_LIMIT}.", filter="limit"
            )
        if self.target_id is not None and not self.target_types:
            raise InvalidQuery(
                "target_id needs target_types: ids are only unique within a type.", filter="target_id"
            )
        for name in ("since", "until"):
            moment = getattr(self, name)
            if moment is None:
                continue
            if moment.tzinfo is None:
                raise InvalidQuery(f"{name} has no time zone; pass an aware datetime.", filter=name)
            try:
                moment.astimezone(UTC)
            except OverflowError:
                raise InvalidQuery(f"{name} is outside the years 1 to 9999 in UTC.", filter=name) from None
        if self.since and self.until and self.since >= self.until:
            raise InvalidQuery("since is not before until, so nothing can match.", filter="since")
        if self.newer and self.cursor is None:
            raise InvalidQuery("newer needs a cursor to look from.", filter="cursor")

    @property
    def is_history(self) -> bool:
        """Whether this asks for the history of one object."""
        return self.target_id is not None


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, newest first; ``next`` is the cursor of the page after it (older events), ``None`` at the
    end. A store that has no index for a filter may end a page early, even an empty one, and say where to go on.

    ``newest`` is the cursor from which ``EventQuery(newer=True)`` sees what came since: that of the first
    event here, or the one that was asked with when nothing newer has come; ``None`` when there is no event.
    ``next`` is ``None`` where ``newer`` was asked for.
    """

    events: Sequence[RecordedEvent] = field(default_factory=list)
    next: str | None = None
    newest: str | None = None


def encode_cursor(*position: str | int) -> str:
    """An opaque cursor for a position in the order of the answer (keyset paging: no page is ever counted)."""
    return (
        base64.urlsafe_b64encode(json.dumps(position, separators=(",", ":")).encode()).rstrip(b"=").decode()
    )


def decode_cursor(cursor: str, *types: type) -> list[Any]:
    """The position in ``cursor``, of these types. Raises :class:`InvalidQuery` for one that was not made
    here.
    """
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        position = json.loads(raw)
        if [type(item) for item in position] == list(types):
            return list(position)
    except (UnicodeError, binascii.Error, ValueError, TypeError, RecursionError):
        pass
    raise InvalidQuery("This page address is damaged. Go back to the first page.", filter="cursor")
