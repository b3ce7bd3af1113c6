"""``RELAY = "tasks"``: the relay's task for ``django.tasks`` (Django 6.0 and newer), on the default backend."""

from __future__ import annotations

from django.tasks import task

from audit_django.relay.task import run


@task
def relay(using: str | None = None) -> None:
    """Relay the events of one database alias, or of each that ``AUDIT["DATABASES"]`` names."""
    run(using)


def publish(using: str) -> None:
    """Queue the task for one database alias. Raises what the backend raises."""
    relay.enqueue(using)
