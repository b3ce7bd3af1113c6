"""``/audit/health/``: whether the relay keeps up, for a monitor."""

from __future__ import annotations

import logging
import time
from enum import StrEnum
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from audit_core.operate.doctor import MAX_LAG_SECONDS
from audit_core.operate.stats import SinkState, TrailStats, stats
from audit_core.relay.report import words_of

logger = logging.getLogger("audit.relay")

FRESH_SECONDS = 2.0
"""How long an answer is given again: anybody may ask, as often as they like."""


class Health(StrEnum):
    """What the monitor is told, from well to bad."""

    OK = "ok"
    DEGRADED = "degraded"  # somebody has to look: parked events, a paused sink
    FAILING = "failing"  # events wait for longer than a minute, or the database does not answer


_last: tuple[float, Health, list[dict[str, Any]]] | None = None


@never_cache
@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """200 while events arrive, else 503. Who may see the trail is told the figures too; no error's text is."""
    global _last
    if _last is None or time.monotonic() - _last[0] > FRESH_SECONDS:
        _last = (time.monotonic(), *_examine())
    _, found, trails = _last
    answer: dict[str, Any] = {"status": found}
    user = getattr(request, "user", None)
    if user is not None and user.has_perm("audit_django.view_audit_log"):
        answer["trails"] = trails
    return JsonResponse(answer, status=503 if found is Health.FAILING else 200)


def _examine() -> tuple[Health, list[dict[str, Any]]]:
    from audit_django.installation import DjangoInstallation

    try:
        trails = DjangoInstallation().trails()
        found = [(stats(trail), bool(trail.sinks)) for trail in trails]
    except Exception as error:  # noqa: BLE001 - that it cannot be examined is the answer
        logger.error("The trail's health cannot be examined: %s", words_of(error))
        return Health.FAILING, []
    order = list(Health)
    worst = max((_health(one, has_sinks=has_sinks) for one, has_sinks in found), key=order.index)
    return worst, [_figures(one) for one, _ in found]


def _health(found: TrailStats, *, has_sinks: bool) -> Health:
    if has_sinks and found.late_seconds > MAX_LAG_SECONDS:
        return Health.FAILING
    if found.parked or any(reader.state is SinkState.PAUSED for reader in found.readers):
        return Health.DEGRADED
    return Health.OK


def _figures(found: TrailStats) -> dict[str, Any]:
    names = ("name", "state", "seq", "lag_events", "lag_seconds", "parked")
    readers = [{name: getattr(reader, name) for name in names} for reader in found.readers]
    return {"name": found.name, "head": found.head, "waiting": found.waiting, "readers": readers}
