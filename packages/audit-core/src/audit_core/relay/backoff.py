"""How long to wait: decisions without a clock."""

from __future__ import annotations

from collections.abc import Callable

RETRY_AFTER_CAP_SECONDS = 3600.0  # a store that asks for more is asked again after an hour


def retry_delay_seconds(
    failures: int,
    *,
    base_seconds: float,
    cap_seconds: float,
    random: Callable[[], float],
    retry_after_seconds: float | None = None,
) -> float:
    """The wait after ``failures`` failures in a row (1 for the first): exponential with full jitter.

    That is a random part of ``base * 2**(failures - 1)``, at most the cap, so that many workers do not come
    back at the same moment. It is never less than what the store asked for (``retry_after_seconds``).
    """
    ceiling = min(cap_seconds, base_seconds * 2.0 ** min(failures - 1, 64))
    asked = min(retry_after_seconds or 0.0, RETRY_AFTER_CAP_SECONDS)
    return max(ceiling * random(), asked)


def idle_delay_seconds(previous: float, *, moved: bool, min_seconds: float, max_seconds: float) -> float:
    """The pause after a pass: none when it moved something, else twice the ``previous`` one between the
    bounds.
    """
    return 0.0 if moved else min(max_seconds, max(min_seconds, previous * 2))


def lease_ttl_seconds(last_call_seconds: float, *, base_seconds: float, cap_seconds: float) -> float:
    """How long a lease to ask for when the sink's last call took this long.

    A call that outlasts its lease is done again by a rival, whose lease runs out in the same way: neither
    would ever move the cursor. Twice the last call is enough for the next, and for one that takes twice as
    long.
    """
    return min(cap_seconds, max(base_seconds, 2 * last_call_seconds))
