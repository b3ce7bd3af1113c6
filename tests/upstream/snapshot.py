"""Prints the events and the tables of the project of DJANGO_SETTINGS_MODULE as JSON.

Unlike :mod:`tests.replay` it knows fields that Django does not have: their values are written as Django's serializers do.
"""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import django

django.setup()

from django.db import connection  # noqa: E402
from django.db.models import QuerySet  # noqa: E402
from tests.replay import texts  # noqa: E402

from audit_core.codec import plain  # noqa: E402
from audit_core.errors import EncodeError  # noqa: E402
from audit_django.registry import tracked, tracked_models  # noqa: E402


def value(field: Any, stored: Any) -> Any:
    """A value of a field as JSON knows it."""
    try:
        return plain(stored)
    except EncodeError:
        return field.value_to_string(SimpleNamespace(**{field.attname: stored}))


def table(model: Any) -> dict[str, Any]:
    """The rows of a model, and the links of its many-to-many fields, by primary key."""
    specs = [spec for spec in tracked(model).fields if not spec.sensitive]
    rows = {
        str(plain(row["pk"])): {spec.name: value(spec.field, row[spec.attname]) for spec in specs}
        for row in QuerySet(model).values("pk", *(spec.attname for spec in specs))
    }
    links: dict[str, dict[str, list[str]]] = {key: {} for key in rows}
    for spec in tracked(model).m2m:
        own, other = spec.field.m2m_field_name(), spec.field.m2m_reverse_field_name()
        for one, two in QuerySet(spec.field.remote_field.through).values_list(own, other):
            links[str(plain(one))].setdefault(spec.field.name, []).append(json.dumps(plain(two)))
    parents = [parent._meta.label for parent in model._meta.all_parents]
    return {"rows": rows, "links": links, "parents": parents}


stored = set(
    connection.introspection.table_names(include_views=True)
)  # some models have no table: a query is theirs
models = [model for model in tracked_models() if model._meta.db_table in stored]
json.dump({"events": texts(), "tables": {model._meta.label: table(model) for model in models}}, sys.stdout)
