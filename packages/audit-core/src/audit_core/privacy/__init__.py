"""Sealed values: what stands in an event where a sensitive value would be.

Capture hands a sensitive value over as a :class:`Secret`, which shows itself to nobody. The recorder puts a *sealed* value in its
place before the event exists: ``{"sealed": {…}}``, with keys a mask (:mod:`~audit_core.privacy.masks`) and a ciphertext
(:mod:`~audit_core.privacy.cipher`) under a data key (:mod:`~audit_core.privacy.keys`), without keys nothing.
:mod:`~audit_core.privacy.sealing` puts the parts together and opens them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

MASK = "••••••••"  # what people see: as long for a short value as for a long one


def is_sealed(value: Any) -> bool:
    """Whether ``value``, taken from a change that is ``sensitive``, is a sealed one (an empty value is not sealed)."""
    if (
        type(value) is str
    ):  # nearly all are, and to ask whether one is a Mapping takes longer than all the rest
        return False
    return isinstance(value, Mapping) and value.keys() == {"sealed"}


class Secret(Mapping[str, Any]):
    """A sensitive value, plain JSON, between capture and recorder. It has no text, and cannot be copied or pickled.

    To everybody else it is an empty sealed value: one that passes the recorder by is not kept, and not shown.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __getitem__(self, key: str) -> Mapping[str, Any]:
        return {"sealed": {}}[key]

    def __iter__(self) -> Iterator[str]:
        return iter(("sealed",))

    def __len__(self) -> int:
        return 1

    __eq__ = object.__eq__  # two secrets may be different values
    __hash__ = object.__hash__

    def reveal(self) -> Any:
        """The value. For who seals it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            "A Secret is not copied or pickled: seal it, or take reveal() where the plain value may be."
        )
