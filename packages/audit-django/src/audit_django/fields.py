"""What capture knows of a model and its fields, worked out once."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models
from django.db.models import Field, Model
from django.utils import translation

from audit_core.codec import canonical
from audit_core.diff import FIELD, FOREIGN_KEY, ONE_TO_ONE, Change
from audit_core.errors import EncodeError
from audit_core.event import Target
from audit_django.conf import AuditSettings
from audit_django.quick import quick_form
from audit_django.values import normalized, plain_value, writes_its_own_way

if TYPE_CHECKING:
    from audit_django.options import Options


_PASSWORD = re.compile(r"passw(or)?d|passphrase|passcode|(^|_)pwd($|_)", re.IGNORECASE)


def is_password(field: Any) -> bool:
    """Whether a field's value is never kept in any form, whatever the settings say."""
    return _PASSWORD.search(field.name) is not None


logger = logging.getLogger("audit.capture")


Subject = str | Callable[[Any], Any]
"""The person whom the values of a row belong to: the name of a field, or a function of the row."""


class FieldSpec:
    """One column that is audited."""

    def __init__(
        self, field: Any, position: int, *, sensitive: bool, role: str | None, language: str
    ) -> None:
        self.field = field
        self.name = field.name
        self.attname = field.attname
        self.position = position
        self.never_stored = is_password(field)
        self.sensitive = sensitive
        self.role = role
        self.type = field.get_internal_type()
        self.relation = _relation(field)
        self.reread = writes_its_own_way(field)
        self.sets_itself = _sets_itself(field)
        self._quick = quick_form(field)
        self.language = language

    @cached_property
    def label(self) -> str | None:
        """What people call the field, where it says more than its name."""
        return _label(self.field, self.language)

    @cached_property
    def _has_choices(self) -> bool:  # asked at the first change: an application may set them when it is ready
        return bool(self.field.choices) and not self.sensitive

    @cached_property
    def choices(self) -> dict[Any, str]:
        """What people see for each stored value."""
        try:
            with translation.override(self.language):
                pairs = [(value, str(label)) for value, label in self.field.flatchoices if value is not None]
            shown = [(self.plain(value), label) for value, label in pairs]
        except Exception as error:  # noqa: BLE001  what people see is no reason to refuse a save
            logger.warning("The choices of %s cannot be shown: %r", self.field, error)
            return {}
        return {value: label for value, label in shown if not isinstance(value, dict | list)}

    def change(self, before: Any, after: Any) -> Change:
        """The change from one plain value to another."""
        display = None
        if self._has_choices:
            shown = {
                "before": self.choices.get(_hashable(before)),
                "after": self.choices.get(_hashable(after)),
            }
            display = {side: text for side, text in shown.items() if text is not None} or None
        return Change(
            self.name,
            self.type,
            self.relation,
            before,
            after,
            label=self.label,
            display=display,
            role=self.role,
            position=self.position,
            sensitive=self.sensitive,
        )

    def plain(self, value: Any) -> Any:
        """``value`` of this column as a plain JSON value. Raises :class:`~audit_core.errors.EncodeError`."""
        if value is None:
            return None
        if self._quick is not None and (form := self._quick(value)) is not None:
            return form
        try:
            return plain_value(self.field, value)
        except Exception as error:
            if not self.sensitive:
                raise
            raise EncodeError(
                f"{self.field.model._meta.label}.{self.name}: {type(error).__name__} when its value was to become JSON. What "
                f"was said is not repeated, because the field is sensitive. Give the value a JSON form with the hook "
                f"audit_encode_value, or exclude the field from the audit trail."
            ) from None

    def as_kept(self, value: Any, vendor: str) -> Any:
        """What the database will give back for a value that was written."""
        is_so_already = self._quick is not None and self._quick(value) is not None
        return value if is_so_already else normalized(self.field, value, vendor)

    def plain_written(self, value: Any, vendor: str) -> Any:
        """The same for a value that was written: as the database will give it back."""
        if value is None:
            return None
        if self._quick is not None and (form := self._quick(value)) is not None:
            return form
        return self.plain(normalized(self.field, value, vendor))


@dataclass(frozen=True)
class M2MSpec:
    """One many-to-many field that is audited."""

    field: Any  # a ManyToManyField
    position: int
    language: str

    @cached_property
    def label(self) -> str | None:
        """What people call the field, where it says more than its name."""
        return _label(self.field, self.language)

    def change(self, added: Sequence[Any], removed: Sequence[Any]) -> Change:
        """The change that links ``added`` and unlinks ``removed``, both ``{"pk": …, "repr": …}``."""
        return Change(
            field=self.field.name,
            relation="many_to_many",
            added=added,
            removed=removed,
            label=self.label,
            position=self.position,
        )


@dataclass(frozen=True)
class Tracked:
    """An audited model: ``fields`` in model order (without the primary key, which is the target's id)."""

    model: type[Model]
    language: str
    fields: Sequence[FieldSpec]
    m2m: Sequence[M2MSpec]
    condition: Callable[[Any], bool] | None
    required: bool
    before: str
    subject: Subject | None

    @cached_property
    def kind(self) -> str:
        """What people call one such object."""
        with translation.override(self.language):
            return str(self.model._meta.verbose_name)

    @cached_property
    def kind_plural(self) -> str:
        """What people call several of them."""
        with translation.override(self.language):
            return str(self.model._meta.verbose_name_plural)

    @property
    def type(self) -> str:
        """The target type: ``policies.Policy``."""
        return self.model._meta.label

    def key_of(self, instance: Model) -> Any:
        """The primary key of ``instance`` in the audited model, which may be the second of its parents."""
        own = isinstance(instance, self.model) and instance._meta.concrete_model is not self.model
        return getattr(instance, self.model._meta.pk.attname) if own else instance.pk

    def target(self, pk: Any, label: str | None) -> Target:
        """The target with this primary key and label."""
        return Target(
            type=self.type,
            id=pk_text(self.model, pk),
            repr=label,
            kind=self.kind,
            kind_plural=self.kind_plural,
        )


def pk_text(model: type[Model], pk: Any) -> str | None:
    """A primary key as text; one of several columns as the JSON list of its values."""
    columns = model._meta.pk_fields
    quick = quick_form(columns[0]) if len(columns) == 1 else None
    if quick is not None and type(pk) in (int, str, UUID) and (form := quick(pk)) is not None:
        return str(form)
    values = pk if len(columns) > 1 else [pk]
    parts = [
        plain_value(column, normalized(column, value))
        for column, value in zip(columns, values or (), strict=False)
    ]
    value = parts if len(columns) > 1 and parts else parts[0] if parts else None
    return value if value is None or isinstance(value, str) else canonical(value)


def build(model: type[Model], options: Options, settings: AuditSettings) -> Tracked:
    """What capture has to know of ``model``."""
    meta = model._meta
    excluded = {*options.exclude, *settings.exclude_fields}
    excluded |= {
        name.rpartition(".")[2] for name in excluded if name.lower().startswith(f"{meta.label_lower}.")
    }
    chosen = None if options.fields is None else set(options.fields)
    from audit_django.registry import is_sensitive

    specs = []
    for position, field in enumerate(meta.concrete_fields):
        if field.primary_key or field.name in excluded or (chosen is not None and field.name not in chosen):
            continue
        if _links_to_parent(field):
            continue
        sensitive = is_sensitive(field, options.sensitive)
        role = "owner" if field.name in options.owner else _role(field)
        specs.append(FieldSpec(field, position, sensitive=sensitive, role=role, language=settings.language))
    m2m = [
        M2MSpec(field, len(meta.concrete_fields) + position, settings.language)
        for position, field in enumerate(meta.many_to_many)
        # Others have relations that are no such fields (generic ones, taggit).
        if isinstance(field, models.ManyToManyField)
        and _links_keys(field)
        and field.name not in excluded
        and (options.m2m is None or field.name in options.m2m)
    ]
    return Tracked(
        model=model,
        language=settings.language,
        fields=tuple(specs),
        m2m=tuple(m2m),
        condition=options.condition,
        required=(options.on_error or settings.on_error) == "required",
        before=options.before,
        subject=options.subject,
    )


def _relation(field: Field[Any, Any]) -> str:
    if isinstance(field, models.OneToOneField):
        return ONE_TO_ONE
    return FOREIGN_KEY if isinstance(field, models.ForeignKey) else FIELD


def _links_to_parent(field: Field[Any, Any]) -> bool:
    return bool(field.remote_field and getattr(field.remote_field, "parent_link", False))


def _links_keys(field: models.ManyToManyField[Any, Any]) -> bool:
    """Whether a row of the through model has one key for each side, and not several columns (a ``ForeignObject``)."""
    relation: Any = field.remote_field
    through, sides = relation.through, (field.model, relation.model)
    if isinstance(through, str):
        return False  # not there (yet): the system checks say it
    ends = (end for end in through._meta.fields if end.is_relation and end.remote_field.model in sides)
    return all(isinstance(end, models.ForeignKey) for end in ends)


def _role(field: Field[Any, Any]) -> str | None:
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False) or field.generated:
        return "automatic"
    if isinstance(field, models.BooleanField) and field.name.startswith(("is_", "has_", "enable", "active")):
        return "switch"
    return None


def _sets_itself(field: Any) -> bool:
    """Whether a save may write another value than the instance holds (``auto_now``, an uploaded file)."""
    if isinstance(field, models.DateField | models.TimeField):
        return bool(field.auto_now)
    return type(field).pre_save is not Field.pre_save


def _label(field: Any, language: str) -> str | None:
    """The field's verbose name, where it says more than the field's name does."""
    with translation.override(language):
        name = str(field.verbose_name)
    return None if name == field.name.replace("_", " ") else name


def _hashable(value: Any) -> Any:
    return None if isinstance(value, dict | list) else value
