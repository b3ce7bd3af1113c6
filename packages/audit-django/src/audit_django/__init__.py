"""The audit trail for Django.

    from audit_django import register
    register("policies.Policy", sensitive=["ssn"])

Settings are in ``settings.AUDIT`` (:mod:`audit_django.conf`); what is audited is in :mod:`audit_django.registry`; how a write
becomes an event is in :mod:`audit_django.capture`.
"""

from importlib.metadata import version

from audit_core.context import audit_context, with_reason
from audit_django.recording import disabled, record
from audit_django.registry import AuditableMixin, audited, register, unregister

__version__ = version("audit-django")

__all__ = [
    "AuditableMixin",
    "audit_context",
    "audited",
    "disabled",
    "record",
    "register",
    "unregister",
    "with_reason",
]
