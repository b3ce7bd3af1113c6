"""What people call an object, frozen when something happens to it."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import Model

from audit_core.codec import canonical, safe_text
from audit_core.privacy import MASK
from audit_django.capture.select_rows import ask, fetch

if TYPE_CHECKING:
    from audit_django.capture.transactions import TransactionState
    from audit_django.fields import FieldSpec

logger = logging.getLogger("audit.capture")

MAX_CHARACTERS = 250
BATCH = 500  # keys in one query: below every database's limit of parameters


def label_of(instance: Model) -> str:
    """``str(instance)``, or the kind and key where that fails: a label must never stop a save."""
    try:
        text = str(instance)
    except Exception as error:  # noqa: BLE001  it is the application's code
        said = hidden(repr(error), instance)
        logger.warning("str() of a %s failed, so its label is its key: %s", instance._meta.label, said)
        from audit_django.fields import pk_text

        text = f"{instance._meta.verbose_name} {pk_text(instance.__class__, instance.pk) or ''}".rstrip()
    text = safe_text(hidden(text, instance))
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def hidden(text: str, instance: Model) -> str:
    """``text`` without the sensitive values that ``instance`` holds."""
    from audit_django.registry import secrets_of

    for secret in secrets_of(instance):
        text = text.replace(secret, MASK)
    return text


def as_audited(model: type[Model], rows: dict[Any, Model], using: str) -> dict[Any, Model]:
    """The same objects; those that are multi-table children audited under their own name as such."""
    from audit_django.registry import audited_children

    keys = {row.pk: key for key, row in rows.items() if type(row)._meta.concrete_model is model}
    for child in audited_children(model):
        link: Any = child._meta.get_ancestor_link(model)
        attname = link.attname if link.model is child else "pk"  # a grandchild shares its parent's key
        for found in objects_of(child, attname, list(keys), using):
            rows[keys[getattr(found, model._meta.pk.attname)]] = found
    return rows


def objects_of(model: type[Model], attname: str, values: Collection[Any], using: str) -> Iterator[Model]:
    """The objects of ``model`` whose ``attname`` has one of these values; managers that filter hide nothing."""
    wanted = list(dict.fromkeys(value for value in values if value is not None))
    for start in range(0, len(wanted), BATCH):
        yield from fetch(model, attname, wanted[start : start + BATCH], connections[using])


def objects_of_each(
    state: TransactionState, wanted: Sequence[tuple[type[Model], str, Collection[Any]]]
) -> list[list[Model]]:
    """:func:`objects_of` for several models, in one round trip where the database can do that and the values are few."""
    answers: list[list[Model]] = []
    for model, attname, values in wanted:
        different = list(dict.fromkeys(value for value in values if value is not None))
        if len(different) > BATCH:
            answers.append(list(objects_of(model, attname, different, state.connection.alias)))
        else:
            answers.append(ask(state, model, attname, different) if different else [])
    state.prelude.send()
    return answers


class Labels:
    """The labels of the objects that relations refer to: what is at hand, and one query a relation for what is not."""

    def __init__(self, using: str) -> None:
        self._using = using
        self._known: dict[tuple[type[Model], str, str], str] = {}

    def learn(self, spec: FieldSpec, related: Model | None) -> None:
        """``related`` is an object that the relation ``spec`` refers to."""
        if related is not None:
            key = getattr(related, spec.field.target_field.attname)
            self._known[self._place(spec, spec.plain(key))] = label_of(related)

    def fetch(self, spec: FieldSpec, keys: Sequence[Any]) -> None:
        """Look up the labels of these plain keys, those that are known excepted."""
        missing = [key for key in keys if key is not None and self._place(spec, key) not in self._known]
        if missing:
            for related in objects_of(
                spec.field.related_model, spec.field.target_field.attname, missing, self._using
            ):
                self.learn(spec, related)

    def reference(self, spec: FieldSpec, key: Any) -> dict[str, Any] | None:
        """``{"pk": …, "repr": …}`` for a plain key; the label is ``None`` when nobody knows the object."""
        return None if key is None else {"pk": key, "repr": self._known.get(self._place(spec, key))}

    @staticmethod
    def _place(spec: FieldSpec, key: Any) -> tuple[type[Model], str, str]:
        return spec.field.related_model, spec.field.target_field.attname, canonical(key)
