"""The middleware's public place: ``MIDDLEWARE = [..., "audit_django.middleware.AuditMiddleware"]``."""

from audit_django.context.middleware import AuditMiddleware

__all__ = ["AuditMiddleware"]
