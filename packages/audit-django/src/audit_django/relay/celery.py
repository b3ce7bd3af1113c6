"""``RELAY = "celery"``: queues the task of :mod:`audit_django.tasks`."""

from __future__ import annotations

from audit_django.tasks import relay

TIMEOUT_SECONDS = 2.0
"""How long a broker may take for each step of a call. Nothing waits but the thread that nudges."""

_TIMEOUTS = {
    "amqp": {"read_timeout": TIMEOUT_SECONDS, "write_timeout": TIMEOUT_SECONDS},
    "redis": {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS},
}
"""What keeps a broker that accepts and then says nothing from holding the thread for ever, by kombu's name of the driver."""


def publish(using: str) -> None:
    """Queue the task for one database alias, at once or not at all. Raises what the broker's client raises.

    On a connection of its own, not one of the app's pool: with the timeouts above, and never one that the broker or a balancer
    has dropped since the last commit, which would cost a nudge to find out. It is opened twice a second at most.
    """
    with relay.app.connection_for_write(connect_timeout=TIMEOUT_SECONDS) as connection:
        connection.transport_options |= _TIMEOUTS.get(connection.transport.driver_type, {})
        relay.apply_async((using,), connection=connection, retry=False)
