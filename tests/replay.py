"""Rebuilds tables from the events about them, and says where the result differs from the tables.

The first half knows nothing of Django: :func:`replay` is a function of the events' texts alone. The second half
reads the tables of a Django project; ``python replay.py`` prints both as JSON, for a test that runs the project in
a process of its own.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Values = dict[str, Any]
Links = dict[str, set[str]]


parsed = functools.lru_cache(maxsize=None)(
    json.loads
)  # who replays with one event changed parses the rest once


@dataclass
class State:
    """Rows and links as far as events tell them: by target type, then by primary key as text.

    ``breaks`` lists where an event does not fit what the events before it have left behind.
    """

    rows: dict[str, dict[str, Values]] = field(default_factory=dict)
    links: dict[str, dict[str, Links]] = field(default_factory=dict)
    breaks: list[str] = field(default_factory=list)


def replay(texts: Iterable[str]) -> State:
    """What is there after these events, in this order. Sensitive values cannot be told and are left out."""
    state = State()
    for text in texts:
        event = parsed(text)
        if event["category"] == "change" and event["outcome"] == "success":
            _apply(state, event)
    return state


def _apply(state: State, event: Mapping[str, Any]) -> None:
    kind, key = event["target"]["type"], event["target"]["id"]
    rows = state.rows.setdefault(kind, {})
    links = state.links.setdefault(kind, {})
    place = f"{event['action']} of {kind} {key}"
    exists = key in rows
    if exists is (event["action"] == "create"):
        state.breaks.append(f"{place}: the row {'exists already' if exists else 'does not exist'}")
    row, own = rows.setdefault(key, {}), links.setdefault(key, {})
    for name, change in event.get("diff", {}).items():
        if change["relation"] == "many_to_many":
            _link(state, own.setdefault(name, set()), change, f"{place}: {name}")
        elif not change.get("sensitive"):
            before, after = _value(change, "before"), _value(change, "after")
            if row.get(name) != before:
                state.breaks.append(f"{place}: {name} was {row.get(name)!r}, the event says {before!r}")
            row[name] = after
    if event["action"] == "delete":
        left = sorted(name for name, value in row.items() if value is not None) + sorted(
            n for n in own if own[n]
        )
        if left:
            state.breaks.append(f"{place}: the event says nothing of {', '.join(left)}")
        del rows[key], links[key]


def _link(state: State, linked: set[str], change: Mapping[str, Any], place: str) -> None:
    added = {json.dumps(reference["pk"]) for reference in change["added"]}
    removed = {json.dumps(reference["pk"]) for reference in change["removed"]}
    if added & linked or removed - linked:
        state.breaks.append(f"{place}: cannot add {added & linked} nor remove {removed - linked}")
    linked |= added
    linked -= removed


def _value(change: Mapping[str, Any], side: str) -> Any:
    value = change[side]
    return value["pk"] if change["relation"] != "field" and value is not None else value


def differences(state: State, tables: Mapping[str, Any]) -> list[str]:
    """Where ``state`` differs from the tables that :func:`tables` has read, one line each; empty if they are equal.

    A field of which no event speaks is null. Every audited field that is not sensitive is compared, every link too.
    """
    found = []
    for kind in sorted({*tables, *(kind for kind, rows in state.rows.items() if rows)}):
        table = tables.get(kind, {"rows": {}, "links": {}})
        rows = state.rows.get(kind, {})
        for key in sorted({*rows, *table["rows"]}):
            if key not in rows or key not in table["rows"]:
                found.append(f"{kind} {key}: only in the {'events' if key in rows else 'database'}")
                continue
            replayed, stored = rows[key], table["rows"][key]
            replayed_links, stored_links = state.links[kind][key], table["links"][key]
            pairs = {name: (replayed.get(name), stored.get(name)) for name in {*replayed, *stored}}
            pairs |= {
                name: (sorted(replayed_links.get(name, ())), sorted(stored_links.get(name, ())))
                for name in {*replayed_links, *stored_links}
            }
            found += [
                f"{kind} {key}.{name}: {told!r} but {there!r} in the database"
                for name, (told, there) in sorted(pairs.items())
                if told != there
            ]
    return found


def texts() -> list[str]:
    """The texts of all events, by number."""
    from audit_django.models import AuditEvent

    return list(AuditEvent.objects.order_by("number").values_list("text", flat=True))


def tables() -> dict[str, Any]:
    """All audited tables: ``{type: {"rows": {pk: {field: value}}, "links": {pk: {field: [pk, …]}}}}``.

    The rows are read with the plainest query there is, and written by :func:`audit_core.codec.plain`.
    """
    from django.db.models import QuerySet

    from audit_core.codec import plain
    from audit_django.registry import tracked, tracked_models

    found = {}
    for model in tracked_models():
        known = tracked(model)
        assert known is not None
        columns = {spec.attname: spec.name for spec in known.fields if not spec.sensitive}
        pk = model._meta.pk.attname
        rows = {
            str(plain(row[pk])): {name: plain(row[column]) for column, name in columns.items()}
            for row in QuerySet(model).values(pk, *columns)
        }
        links: dict[str, dict[str, list[str]]] = {key: {} for key in rows}
        for spec in known.m2m:
            own, other = spec.field.m2m_field_name(), spec.field.m2m_reverse_field_name()
            for link in QuerySet(spec.field.remote_field.through).values(f"{own}_id", f"{other}_id"):
                linked = links[str(plain(link[f"{own}_id"]))].setdefault(spec.field.name, [])
                linked.append(json.dumps(plain(link[f"{other}_id"])))
        found[known.type] = {"rows": rows, "links": links}
    return found


if __name__ == "__main__":  # in a process that has DJANGO_SETTINGS_MODULE and the project on its path
    import django

    django.setup()
    json.dump({"events": texts(), "tables": tables()}, sys.stdout)
