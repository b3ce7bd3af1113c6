"""The Django app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AuditConfig(AppConfig):
    """Starts the capture when all models are there."""

    name = "audit_django"
    label = "audit_django"
    verbose_name = _("Audit trail")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from audit_django import backends, checks  # noqa: F401  registers the system checks
        from audit_django.capture import install
        from audit_django.context import celery, django_tasks
        from audit_django.registry import autodiscover

        install()
        celery.install()
        django_tasks.install()
        autodiscover()
        backends.load()
