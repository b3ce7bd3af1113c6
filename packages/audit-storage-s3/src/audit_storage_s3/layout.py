"""Where an event is kept: the keys of the objects, and what can be read from them.

    events/tenant=acme/date=2026-03-03/0000000000000101-000000.jsonl.gz       written
    events/tenant=acme/date=2026-03-03/0000000000000000-000000_0000000000000101-000000.jsonl.gz    compacted
    manifests/date=2026-03-03.json

``tenant=`` and ``date=`` (of ``occurred_at``, in UTC) are a partition, in the way of Hive, which Athena, DuckDB and
Spark read as columns. The objects of a partition form a chain, and each is named by its :class:`Position` in it. That
name follows from the objects before it and from nothing else, so of two writers that know the same chain only one can
make the next object, whatever each of them wants to put into it (``If-None-Match``), and the other learns that it has to
look again. A compacted object has the names of the first and the last of those it was made from, and holds everything
between the two.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any
from urllib.parse import quote

EVENTS = "events/"
MANIFESTS = "manifests/"
NULL = "__HIVE_DEFAULT_PARTITION__"  # what Hive calls a partition whose value is NULL
MAX_TENANT_BYTES = (
    240  # of its escaped form: MinIO and file systems take 255 in one part of a path, with `tenant=`
)
_NAME = re.compile(r"(\d{16,})-(\d{6,})(?:_(\d{16,})-(\d{6,}))?\.(.+)")
FACTS = "audit"  # the name of an object's metadata
_FACTS = re.compile(r"(\d+) (\d+|-) (\d+|-) ([0-9a-f]{64})")
_DAY = re.compile(r"date=(\d{4}-\d{2}-\d{2})/")


@dataclass(frozen=True, slots=True)
class Partition:
    """The events of one tenant and one day. ``tenant`` is in the form that stands in a key: see :func:`escaped`."""

    tenant: str
    day: date

    @property
    def folder(self) -> str:
        """Its part of the key, behind the storage's prefix."""
        return f"{EVENTS}tenant={self.tenant}/date={self.day.isoformat()}/"


def partition_of(data: Mapping[str, Any]) -> Partition:
    """The partition of an event with this JSON form: it depends on the event's text alone, so it is the same for ever."""
    return Partition(
        escaped(data.get("tenant")), date.fromisoformat(data["occurred_at"][:10])
    )  # always in UTC


@lru_cache(maxsize=1024)
def escaped(tenant: str | None) -> str:
    """A tenant as it stands in a key: percent-encoded as Hive does it, and cut, with its digest, when too long."""
    if tenant is None:
        return NULL
    if not tenant:
        return "%00"  # Spark refuses an empty value; NUL itself is in no event
    text = quote(tenant, safe="")
    if text == NULL:
        return f"%5F{text[1:]}"
    if len(text) > MAX_TENANT_BYTES:
        # 14 characters are at most 168 bytes, and are not cut in the middle of one.
        return f"{quote(tenant[:14], safe='')}~{hashlib.sha256(tenant.encode()).hexdigest()}"
    return text


def day_in(folder: str) -> date | None:
    """The day of ``…/date=2026-03-03/``; ``None`` for a folder that is not ours."""
    found = _DAY.search(folder)
    return date.fromisoformat(found[1]) if found else None


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """The place of an object in its chain.

    ``head`` is one more than the greatest seq of all objects before it, ``turn`` counts those since then that did not move
    the head: they hold events that came late, or have no seq.
    """

    head: int = 0
    turn: int = 0

    def __str__(self) -> str:
        return f"{self.head:016d}-{self.turn:06d}"

    def following(self, last_seq: int | None) -> Position:
        """The place behind an object at this one, of whose events ``last_seq`` is the greatest seq."""
        if last_seq is not None and last_seq >= self.head:
            return Position(last_seq + 1)
        return Position(self.head, self.turn + 1)


@dataclass(frozen=True, slots=True)
class Stored:
    """An object with events. ``first`` and ``last`` differ when it was compacted."""

    key: str
    first: Position
    last: Position
    suffix: str
    size_bytes: int
    etag: str

    def covers(self, other: Stored) -> bool:
        """Whether this one was made from ``other``, among others."""
        return self.key != other.key and self.first <= other.first and other.last <= self.last


@dataclass(frozen=True, slots=True)
class Facts:
    """What is kept beside an object, so that it need not be read to know this: how many events it holds, the least and the
    greatest seq among them, and its SHA-256 in hexadecimal.

    It is one header that ends in the digest: of several, an answer that was cut off would tell some.
    """

    count: int
    first_seq: int | None
    last_seq: int | None
    sha256: str

    def to_metadata(self) -> dict[str, str]:
        """As the object's metadata."""
        first, last = ("-" if seq is None else seq for seq in (self.first_seq, self.last_seq))
        return {FACTS: f"{self.count} {first} {last} {self.sha256}"}


def facts_in(metadata: Mapping[str, str]) -> Facts | None:
    """What an object's metadata says; ``None`` when it was lost, as by a copy of some tools, or arrived in part."""
    found = _FACTS.fullmatch(metadata.get(FACTS, ""))
    if found is None:
        return None
    first, last = (None if seq == "-" else int(seq) for seq in found.group(2, 3))
    return Facts(int(found[1]), first, last, found[4])


def name_of(first: Position, last: Position, suffix: str) -> str:
    """The last part of a key."""
    return f"{first}{suffix}" if first == last else f"{first}_{last}{suffix}"


def parsed(key: str, size_bytes: int, etag: str) -> Stored | None:
    """The object of this key; ``None`` for one that is not ours (a marker that another program left)."""
    found = _NAME.fullmatch(key.rpartition("/")[2])
    if found is None:
        return None
    first = Position(int(found[1]), int(found[2]))
    last = first if found[3] is None else Position(int(found[3]), int(found[4]))
    return Stored(key, first, last, f".{found[5]}", size_bytes, etag)


def chain_of(objects: list[Stored]) -> list[Stored]:
    """The objects that count, in their order: those that a compacted one was made from are left out, whether or not they
    are still there.
    """
    ordered = sorted(objects, key=lambda stored: (stored.first, _backwards(stored.last)))
    chain: list[Stored] = []
    for stored in ordered:
        if not (chain and chain[-1].covers(stored)):
            chain.append(stored)
    return chain


def _backwards(position: Position) -> tuple[int, int]:
    return -position.head, -position.turn
