"""What OpenSearch is told about the documents: fields and settings, put together to an index template.

The canonical text is kept as it is and never looked into; every question is asked of a field beside it. The fields are
few and fixed (``dynamic: strict``): a model with a thousand columns adds not one to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from audit_core.errors import ConfigurationError
from audit_storage_opensearch.names import MAPPING_VERSION, Names

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
