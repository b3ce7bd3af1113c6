"""audit-django's own plugin: the storage and the outbox that live in the application's database."""

from audit_core.plugins.markers import hookimpl


@hookimpl
def audit_register_storages() -> dict[str, str]:
    """The log itself."""
    return {"database": "audit_django.storages.database.DatabaseStorage"}


@hookimpl
def audit_register_outboxes() -> dict[str, str]:
    """The outbox of one database alias."""
    return {"django": "audit_django.outbox.DjangoOutbox"}
