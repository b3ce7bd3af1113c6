"""The indices: what they are called, which of them an event belongs to, and what OpenSearch is told about the documents.

An event's place is a function of its id alone: the month in which its UUIDv7 was made. OpenSearch keeps an id unique
within one index, so whatever comes with the same id, even with another ``occurred_at``, meets the first one there. The
same function finds an event by its id with one look-up.

Events are written to the alias of their month. Behind it stands an index whose name has the version of the mapping: a
later mapping gets a new index behind the same alias, and the ids in it stay unique. All indices together are read
through one more alias.

The canonical text is kept as it is and never looked into; every question is asked of a field beside it. The fields are
few and fixed (``dynamic: strict``): a model with a thousand columns adds not one to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from audit_core.errors import ConfigurationError

MAPPING_VERSION = 1
UNDATED = "undated"  # the month of ids that tell no time
_ALLOWED = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_TAKEN = re.compile(r"-(v\d+|undated)(-|$)")  # what a storage puts behind its own option
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp() * 1000)

_KEYWORD = {"type": "keyword"}
_LABEL = {"type": "keyword", "ignore_above": 1024}  # characters; a longer one is left out of aggregations
_KEPT = {"type": "keyword", "index": False, "doc_values": False}  # comes back as it was, is not looked into

FIELDS: dict[str, dict[str, Any]] = {
    "id": _KEYWORD,  # settles ties; sorting by _id would load all of them into memory
    "seq": {"type": "long"},
    # Microseconds since 1970. A date has milliseconds, and date_nanos ends in 2262 and refuses what was before 1970.
    "occurred_us": {"type": "long"},
    "occurred_at": {
        "type": "date"
    },  # the same in milliseconds: for histograms, and for people with dashboards
    "category": _KEYWORD,
    "action": _KEYWORD,
    "outcome": _KEYWORD,
    "tenant": _KEYWORD,
    "actor_id": _KEYWORD,
    "actor": _LABEL,
    "target_type": _KEYWORD,
    "target_id": _KEYWORD,
    "target": _LABEL,
    "request_id": _KEYWORD,
    "ip": {"type": "ip", "ignore_malformed": True},
    "fields": _KEYWORD,  # the names of those that changed
    "words": {
        "type": "text",
        "analyzer": "audit_words",
        "search_analyzer": "audit_typed",
        "index_options": "docs",  # whether a word occurs is all that is asked: no frequencies, no positions
        "norms": False,
    },
    "text": _KEPT,
    "summary": _KEPT,
}

_ANALYSIS = {
    "tokenizer": {
        # The words are in lower case and separated by spaces already. The longest have 400 characters.
        "audit_words": {"type": "whitespace", "max_token_length": 1024},
        "audit_typed": {"type": "pattern", "pattern": r"[^\p{L}\p{N}]+"},
    },
    "analyzer": {
        "audit_words": {"type": "custom", "tokenizer": "audit_words"},
        "audit_typed": {"type": "custom", "tokenizer": "audit_typed", "filter": ["lowercase"]},
    },
}
DURABILITY = "translog.durability"


def month_of(event_id: UUID) -> str:
    """The month (``2026.03``) that a UUIDv7 was made in, by its first 48 bits (RFC 9562, section 5.7)."""
    ms = event_id.int >> 80
    if event_id.version != 7 or ms > _LAST_MS:
        return UNDATED
    return _month(_EPOCH + timedelta(milliseconds=ms))


def _month(moment: datetime) -> str:
    return f"{moment.year}.{moment.month:02}"


class Names:
    """The names of one storage, all made from its option ``index``. No dot is allowed in it, nor a wildcard, nor what could
    be a version, so no pattern of one storage matches an index or an alias of another.
    """

    def __init__(self, index: str) -> None:
        if not isinstance(index, str) or not _ALLOWED.fullmatch(index):
            raise ConfigurationError(
                f"The option index is {index!r}: it must be lower-case letters, digits, '-' and '_', at most 100."
            )
        if _TAKEN.search(index):
            raise ConfigurationError(
                f"The option index is {index!r}: a storage called {_TAKEN.split(index)[0]!r} would make such names of its own. "
                f"Leave out '-v1' and '-undated'."
            )
        self.all = index
        self.template = f"{index}-v{MAPPING_VERSION}"
        self.policy = f"{index}-retention"
        self.pattern = f"{self.template}-*"
        self.dated_pattern = f"{self.template}-*.*"

    def alias_of(self, event_id: UUID) -> str:
        """The alias under which this event is written and looked up."""
        return f"{self.all}-{month_of(event_id)}"

    def alias_of_month(self, moment: datetime) -> str:
        """The alias of the events that are made now, if ``moment`` is."""
        return f"{self.all}-{_month(moment)}"

    def index_behind(self, alias: str) -> str:
        """The index that is made for the alias of a month."""
        return f"{self.template}{alias.removeprefix(self.all)}"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def template(names: Names, index_settings: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the index template.

    Raises :class:`~audit_core.errors.ConfigurationError` for settings under which an acknowledged event could be lost.
    """
    settings = {name.removeprefix("index."): value for name, value in _flat(index_settings)}
    if settings.get(DURABILITY, "request") != "request":
        raise ConfigurationError(
            f"The option index_settings sets {DURABILITY} to {settings[DURABILITY]!r}: an event that was acknowledged "
            f"could be lost in a crash. Leave it out."
        )
    return {
        "index_patterns": [names.pattern],
        "priority": 500,
        "version": MAPPING_VERSION,
        "_meta": {"description": "Events of the audit trail (audit-storage-opensearch)"},
        "template": {
            "settings": {"index": {"analysis": _ANALYSIS, DURABILITY: "request", **settings}},
            "mappings": {"dynamic": "strict", "properties": FIELDS},
            "aliases": {names.all: {}},
        },
    }
