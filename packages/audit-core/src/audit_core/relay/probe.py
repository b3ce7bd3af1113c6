"""The steps at which a crash is interesting, by name: tests kill a process, or a simulated one, at each of
them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

CRASH_POINTS = (
    "lease.taken",
    "sequence.before",
    "sequence.after",
    "summaries.before_save",
    "summaries.after_save",
    "summaries.after_advance",
    "deliver.before_write",
    "deliver.after_write",
    "deliver.before_park",
    "deliver.after_park",
    "deliver.after_advance",
    "deliver.after_fail",
    "retry.before_write",
    "retry.after_write",
    "retry.after_unpark",
)

Probe: TypeAlias = Callable[[str], None]
"""Called with the name of each step as it is reached."""


def no_probe(step: str) -> None:
    """The probe of everyday: it does nothing."""
