"""The relay's task for Celery, in the module where ``app.autodiscover_tasks()`` looks for it.

For ``django.tasks`` see :mod:`audit_django.relay.django_tasks`. Settings may import from here: no model is loaded.
"""

from __future__ import annotations

from celery import shared_task  # type: ignore[import-untyped]

NUDGE_EXPIRES_SECONDS = 60
"""A worker that was away finds the nudges of a minute, not of a night."""

BEAT_SCHEDULE = {
    "audit-relay": {
        "task": "audit.relay",
        "schedule": 10.0,
        # Longer than a nudge lives, so that the relay has its turn in a queue that is always minutes behind.
        "options": {"expires": 600},
    }
}
"""For ``CELERY_BEAT_SCHEDULE``: the relay every ten seconds, for what no nudge came through for."""


@shared_task(name="audit.relay", ignore_result=True, expires=NUDGE_EXPIRES_SECONDS)  # type: ignore[untyped-decorator]
def relay(using: str | None = None) -> None:
    """Relay the events of one database alias, or of each that ``AUDIT["DATABASES"]`` names.

    No late acknowledgement is needed: the work is in the outbox, and the next task does it.
    """
    from audit_django.relay.task import run

    run(using)
