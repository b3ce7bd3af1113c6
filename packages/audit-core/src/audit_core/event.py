"""One fact, frozen: who did what to which object, when, in which context.

The shape is that of section 4 of the design. Values are plain JSON values (see :mod:`audit_core.codec`), so that an event
is equal to itself after every journey. Nothing here refers to a row of the application: a target is text, and its
label is the one it had at the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

if TYPE_CHECKING:
    from audit_core.diff import Diff

SCHEMA_VERSION = 1


class Category(StrEnum):
    """What kind of fact an event is."""

    CHANGE = "change"
    ACCESS = "access"
    AUTH = "auth"
    EXPORT = "export"
    SYSTEM = "system"
    SECURITY = "security"
    CUSTOM = "custom"


class Outcome(StrEnum):
    """Whether what was tried was done."""

    SUCCESS = "success"
    FAILURE = "failure"


class _Part:
    """A part of an event whose JSON form leaves out what is empty."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: the fields that are not ``None``, by name."""
        return {
            name: value
            for name in self.__dataclass_fields__  # type: ignore[attr-defined]
            if (value := getattr(self, name)) is not None
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor(_Part):
    """Who did it.

    ``type`` is ``user``, ``anonymous``, ``system``, ``command``, ``task``, ``service`` or a word of the application's
    own. ``repr`` is the name people see, as it was at the time.
    """

    id: str | None = None
    type: str = "user"
    username: str | None = None
    email: str | None = None
    repr: str | None = None

    @property
    def label(self) -> str | None:
        """The best name there is."""
        return self.repr or self.username or self.email or self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Target(_Part):
    """What it was done to: ``type`` is ``"policies.Policy"``, ``id`` the primary key as text, ``repr`` its label.

    ``kind`` and ``kind_plural`` are the words people see for the type (``verbose_name``).
    """

    type: str
    id: str | None = None
    repr: str | None = None
    kind: str | None = None
    kind_plural: str | None = None

    @property
    def key(self) -> tuple[str, str | None]:
        """What makes two targets the same."""
        return self.type, self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(_Part):
    """Where it came from.

    ``session`` is a keyed hash, never the session key. ``traceparent`` is the W3C Trace Context header. ``source`` says
    how the code was entered: ``request``, ``command:NAME``, ``task:NAME``, ``shell``, ``migration``.
    """

    ip: str | None = None
    user_agent: str | None = None
    method: str | None = None
    path: str | None = None
    session: str | None = None
    request_id: str | None = None
    traceparent: str | None = None
    source: str | None = None


NO_CONTEXT = Context()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One fact. ``id`` is a UUIDv7 and the idempotency key everywhere; ``occurred_at`` is UTC with microseconds."""

    id: UUID
    occurred_at: datetime
    category: str = Category.CHANGE
    action: str
    outcome: str = Outcome.SUCCESS
    actor: Actor | None = None
    on_behalf_of: Actor | None = None
    target: Target | None = None
    related: tuple[Target, ...] = ()
    tenant: str | None = None
    reason: str | None = None
    context: Context = NO_CONTEXT
    diff: Diff = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The JSON form that is hashed, without what is empty."""
        data: dict[str, Any] = {
            "id": str(self.id),
            "occurred_at": format_timestamp(self.occurred_at),
            "category": str(self.category),
            "action": self.action,
            "outcome": str(self.outcome),
            "schema_version": self.schema_version,
        }
        if self.actor is not None:
            data["actor"] = self.actor.to_dict()
        if self.on_behalf_of is not None:
            data["on_behalf_of"] = self.on_behalf_of.to_dict()
        if self.target is not None:
            data["target"] = self.target.to_dict()
        if self.related:
            data["related"] = [target.to_dict() for target in self.related]
        if self.tenant is not None:
            data["tenant"] = self.tenant
        if self.reason is not None:
            data["reason"] = self.reason
        if context := self.context.to_dict():
            data["context"] = context
        if self.diff:
            data["diff"] = {name: change.to_dict() for name, change in self.diff.items()}
        if self.extra:
            data["extra"] = dict(self.extra)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Event:
        """The event whose JSON form ``data`` is, in the current schema version (see :func:`audit_core.codec.decode`).

        Keys that this version does not know are ignored: they are still in the text.
        """
        from audit_core.diff import Change

        return cls(
            id=UUID(data["id"]),
            occurred_at=parse_timestamp(data["occurred_at"]),
            category=data.get("category", Category.CHANGE),
            action=data["action"],
            outcome=data.get("outcome", Outcome.SUCCESS),
            actor=_part(Actor, data.get("actor")),
            on_behalf_of=_part(Actor, data.get("on_behalf_of")),
            target=_part(Target, data.get("target")),
            related=tuple(_made(Target, item) for item in data.get("related", ())),
            tenant=data.get("tenant"),
            reason=data.get("reason"),
            context=_part(Context, data.get("context")) or NO_CONTEXT,
            diff={name: Change.from_dict(change) for name, change in data.get("diff", {}).items()},
            extra=data.get("extra", {}),
            schema_version=data.get("schema_version", SCHEMA_VERSION),
        )


_P = TypeVar("_P", bound=_Part)


def _made(part: type[_P], data: Mapping[str, Any]) -> _P:
    try:
        return part(**data)
    except TypeError:  # a newer version wrote keys that this one does not know
        return part(**{name: data[name] for name in part.__dataclass_fields__ if name in data})  # type: ignore[attr-defined]


def _part(part: type[_P], data: Mapping[str, Any] | None) -> _P | None:
    return None if data is None else _made(part, data)


def format_timestamp(moment: datetime) -> str:
    """``moment`` in UTC as RFC 3339 text with six digits of a second and ``Z``: text order is time order.

    Raises ``ValueError`` for a naive datetime.
    """
    if moment.tzinfo is None:
        raise ValueError(
            f"{moment!r} has no time zone: an event's time must be aware (use datetime.now(UTC))."
        )
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_timestamp(text: str) -> datetime:
    """The moment that :func:`format_timestamp` wrote, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


@dataclass(frozen=True)
class RecordedEvent:
    """An event as it is kept: the canonical text that is hashed, sent and shown, and what the way added to it.

    ``seq`` is its number in the log (``None`` before it is sequenced), ``summary`` its sentence, if one was written.
    Neither is part of the event: both are known only after it. ``leaf_hash`` is the RFC 6962 leaf hash of the text.
    """

    id: UUID
    text: str
    leaf_hash: bytes
    seq: int | None = None
    summary: str | None = None

    @cached_property
    def event(self) -> Event:
        """The event itself, parsed when first asked for."""
        from audit_core.codec import decode

        return decode(self.text)

    @classmethod
    def of(cls, event: Event, *, seq: int | None = None, summary: str | None = None) -> RecordedEvent:
        """``event`` with its canonical text and leaf hash. Raises :class:`~audit_core.errors.EncodeError`."""
        from audit_core.codec import encode, leaf_hash

        text = encode(event)
        recorded = cls(id=event.id, text=text, leaf_hash=leaf_hash(text), seq=seq, summary=summary)
        recorded.__dict__["event"] = event
        return recorded

    def to_dict(self) -> dict[str, Any]:
        """What consumers read: the event's JSON with ``seq`` and ``summary`` beside it, and ``changes`` for ``diff``."""
        data = self.event.to_dict()
        data["changes"] = data["diff"] = data.get("diff", {})
        data["seq"] = self.seq
        data["summary"] = self.summary
        return data
