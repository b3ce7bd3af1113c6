"""The changes of one event, field by field, in the shape that consumers already know.

A scalar has ``before`` and ``after``; a relation to one object has them as ``{"pk": …, "repr": …}``; a relation to many
has ``added`` and ``removed``. What people see instead of the stored words travels along only where it differs:
``label`` for the field, ``display`` for the values. ``position`` is the field's place in its model, because JSON objects
have no order once they are canonical.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

FIELD = "field"
FOREIGN_KEY = "foreign_key"
ONE_TO_ONE = "one_to_one"
MANY_TO_MANY = "many_to_many"

Reference: TypeAlias = Mapping[str, Any]  # {"pk": …, "repr": …}


class Change(NamedTuple):
    """What happened to one field. All values are plain JSON values (:func:`audit_core.codec.plain`).

    Write its parts by name. It is a tuple because every saved field makes one, and nothing frozen is made faster.

    ``field_type`` is the field's type by its framework's name (``CharField``). ``role`` is ``owner`` where the
    registration says that a change of it is a move from one to the other, ``automatic`` where the model sets the value by
    itself (timestamps, counters), ``switch`` for a boolean that is turned on and off. ``sensitive`` says that the values
    are sealed (:mod:`audit_core.privacy`).
    """

    field: str
    field_type: str | None = None
    relation: str = FIELD
    before: Any = None
    after: Any = None
    added: Sequence[Reference] = ()
    removed: Sequence[Reference] = ()
    label: str | None = None
    display: Mapping[str, str] | None = None
    role: str | None = None
    position: int | None = None
    sensitive: bool = False

    @property
    def name(self) -> str:
        """What people call the field."""
        return self.label or self.field.replace("_", " ").strip()

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: ``before`` and ``after``, or ``added`` and ``removed``, always; the rest where it says something."""
        data: dict[str, Any] = {"field": self.field, "relation": self.relation}
        if self.relation == MANY_TO_MANY:
            data["added"] = list(self.added)
            data["removed"] = list(self.removed)
        else:
            data["before"] = self.before
            data["after"] = self.after
        if self.field_type is not None:
            data["field_type"] = self.field_type
        if self.label is not None:
            data["label"] = self.label
        if self.display:
            data["display"] = self.display
        if self.role is not None:
            data["role"] = self.role
        if self.position is not None:
            data["position"] = self.position
        if self.sensitive:
            data["sensitive"] = True
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Change:
        """The change whose JSON form ``data`` is."""
        try:
            return cls(**data)
        except TypeError:  # a newer version wrote keys that this one does not know
            return cls(**{name: data[name] for name in cls._fields if name in data})


Diff: TypeAlias = Mapping[str, Change]


def in_model_order(diff: Diff) -> list[Change]:
    """The changes in the order in which their model declares the fields; those of unknown place last, by name."""
    return sorted(diff.values(), key=lambda c: (c.position is None, c.position or 0, c.field))
