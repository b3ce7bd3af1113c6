"""The relay's settings."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal, TypeAlias, cast


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """How the relay works. Names carry their unit. Raises ``ValueError`` for what cannot work.

    - ``batch_size``: events that are sequenced, summarized or delivered in one go.
    - ``batches_per_turn``: batches before the other stages have their turn.
    - ``lease_seconds``: how long a dead worker's lease keeps the others away; a sink whose calls take longer
      is given leases twice as long as its last call, up to ``lease_cap_seconds``.
    - ``backoff_base_seconds``, ``backoff_cap_seconds``: the wait after a failure, doubled with each, up to
      the cap (full jitter: a random part of it).
    - ``summary_budget_seconds``: how long a summarizer may take for a batch before the fallback writes it.
    - ``idle_min_seconds``, ``idle_max_seconds``: the pause of a worker that found nothing, doubled up to the
      most; and the most, where something is out of order.
    - ``stop_seconds``: how long a worker that is told to stop waits for the batches under way.
    """

    batch_size: int = 500
    batches_per_turn: int = 10
    lease_seconds: float = 3.0
    lease_cap_seconds: float = 300.0
    backoff_base_seconds: float = 0.5
    backoff_cap_seconds: float = 60.0
    summary_budget_seconds: float = 2.0
    idle_min_seconds: float = 0.05
    idle_max_seconds: float = 0.5
    stop_seconds: float = 10.0

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            kinds = (int,) if setting.type == "int" else (int, float)
            if not isinstance(value, kinds) or isinstance(value, bool):
                raise TypeError(f"{setting.name} is {value!r}; it must be a number ({setting.type}).")
            if not 0 < value < float("inf"):
                raise ValueError(f"{setting.name} is {value!r}; it must be above zero and finite.")
        for low, high in (
            ("lease_seconds", "lease_cap_seconds"),
            ("backoff_base_seconds", "backoff_cap_seconds"),
            ("idle_min_seconds", "idle_max_seconds"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} ({getattr(self, low)}) is more than {high} ({getattr(self, high)}).")


Start: TypeAlias = "Literal['first', 'now'] | datetime"
"""Where a sink begins that never took anything: with the first event, with the next one, or with what occurred from then on."""


def start_of(value: Any) -> Start:
    """``"first"``, ``"now"``, or a moment (an aware ``datetime`` or its ISO 8601 text). Raises ``ValueError``."""
    if value in ("first", "now"):
        return cast("Start", value)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        if moment.tzinfo is not None:
            return cast("datetime", moment)
    except (ValueError, AttributeError):
        pass
    raise ValueError(
        f"{value!r} is no start: write 'first', 'now' or a time with its zone, such as '2026-03-01T00:00:00Z'."
    )
