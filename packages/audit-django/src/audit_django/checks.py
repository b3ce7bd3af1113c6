"""System checks: every mistake that can be seen before the first event, with what to do about it.

``audit.E…`` stops ``runserver``, ``migrate`` and ``check``; ``audit.W…`` is worth a look.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections
from django.db.models import Model, deletion

from audit_core.errors import ConfigurationError
from audit_core.plugins.manager import get_plugin_manager
from audit_django import backends, conf, registry
from audit_django.relay.notify import can_listen
from audit_django.storages.database import SEARCHABLE_VENDORS

MIDDLEWARE = "audit_django.middleware.AuditMiddleware"
AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"


@register()
def check_settings(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """``audit.E001`` to ``E009``: the settings themselves. ``E010``: a path that cannot be imported. ``E011``: a backend.

    ``E012``: a database that is none. ``E014``: the relay's queue is not installed. ``E016``: a storage that people cannot
    read. ``W005``: nothing to listen to.
    """
    result, problems = conf.read(getattr(settings, "AUDIT", {}))
    messages: list[CheckMessage] = [Error(p.message, hint=p.hint, id=p.id) for p in problems]
    if problems:
        return messages
    for name in ("actor_resolver", "tenant_resolver", "tenants_of_user"):
        try:
            result.resolver(name)
        except ImportError as error:
            hint = "Write the dotted path of a callable, such as 'myproject.audit.current_user'."
            messages.append(
                Error(f"AUDIT['{name.upper()}'] cannot be imported: {error}", hint=hint, id="audit.E010")
            )
    try:
        backends.load()
    except ConfigurationError as error:
        messages.append(Error(str(error), id="audit.E011"))
    else:
        messages += _query_messages(result)
    messages += _relay_messages(result)
    for alias in result.databases:
        if alias not in connections:
            hint = f"Name aliases of DATABASES: {', '.join(connections)}."
            messages.append(
                Error(f"AUDIT['DATABASES'] has {alias!r}, which is no database.", hint=hint, id="audit.E012")
            )
    return messages


def _query_messages(result: conf.AuditSettings) -> list[CheckMessage]:
    try:
        result.query_storage()
    except ConfigurationError as error:
        return [Error(str(error), id="audit.E016")]
    return []


def _relay_messages(result: conf.AuditSettings) -> list[CheckMessage]:
    messages: list[CheckMessage] = []
    if result.relay in ("celery", "tasks"):
        try:
            import_module(
                {"celery": "audit_django.tasks", "tasks": "audit_django.relay.django_tasks"}[result.relay]
            )
        except ImportError as error:
            hint = (
                "pip install 'audit-django[celery]'"
                if result.relay == "celery"
                else "It needs Django 6.0 or newer."
            )
            messages.append(
                Error(
                    f"AUDIT['RELAY'] is {result.relay!r}, which cannot be used: {error}",
                    hint=hint,
                    id="audit.E014",
                )
            )
    if result.relay_notify and not any(
        can_listen(alias) for alias in result.databases if alias in connections
    ):
        hint = "It needs PostgreSQL and psycopg 3. Polling does the work meanwhile."
        messages.append(
            Warning("AUDIT['RELAY_NOTIFY'] has nothing to listen to.", hint=hint, id="audit.W005")
        )
    return messages


@register(Tags.models)
def check_registrations(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """``audit.E020``: a model or field that was registered and does not exist. ``W007``: a primary key that may be a secret."""
    messages: list[CheckMessage] = [Error(problem, id="audit.E020") for problem in registry.problems()]
    hint = (
        "Give the model another key, add it to AUDIT['EXCLUDE_MODELS'], or silence this if it is no secret."
    )
    for model in _tracked_models():
        for key in model._meta.pk_fields:
            if registry.is_sensitive(key):
                text = f"The primary key {key.name!r} of {model._meta.label} stands in every event as the target's id."
                messages.append(Warning(text, hint=hint, id="audit.W007"))
    return messages


def _tracked_models() -> list[type[Model]]:
    try:
        return registry.tracked_models()
    except ConfigurationError:
        return []  # check_settings says it


@register(Tags.models)
def check_database_cascades(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """``audit.W008``: a relation that the database itself follows when what it refers to goes (Django 6.1 and newer)."""
    left_to_database: Any = getattr(deletion, "DatabaseOnDelete", ())
    return [
        Warning(
            f"What the database does to {field} when the object that it refers to is deleted is not recorded.",
            hint="Use the on_delete of the same name without 'DB_': Django does it then, and the trail sees it.",
            obj=field,
            id="audit.W008",
        )
        for model in _tracked_models()
        for field in model._meta.local_concrete_fields
        if isinstance(getattr(field.remote_field, "on_delete", None), left_to_database)
    ]


@register()
def check_plugins(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """``audit.W001``: an installed plugin that cannot be used; nothing needs it now."""
    hint = "Update or uninstall it, or block it with AUDIT_BLOCKED_PLUGINS."
    return [Warning(problem, hint=hint, id="audit.W001") for problem in get_plugin_manager().problems()]


@register()
def check_middleware(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """``audit.W002``: no middleware, so events know no request. ``W003``: it stands before authentication."""
    middleware: Sequence[str] = settings.MIDDLEWARE
    if MIDDLEWARE not in middleware:
        hint = f"Add {MIDDLEWARE!r} to MIDDLEWARE, after the authentication middleware."
        return [Warning("Events will not say who made a request or from where.", hint=hint, id="audit.W002")]
    if AUTHENTICATION in middleware and middleware.index(MIDDLEWARE) < middleware.index(AUTHENTICATION):
        hint = f"Put {MIDDLEWARE!r} after {AUTHENTICATION!r}, so that TENANT_RESOLVER sees request.user."
        return [Warning("The audit middleware comes before authentication.", hint=hint, id="audit.W003")]
    return []


@register(Tags.database)
def check_databases(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """``audit.W004``: a database whose own text search the trail does not know. ``W006``: data keys that nobody can use."""
    messages: list[CheckMessage] = [
        Warning(
            f"The audit trail cannot search text on {connections[alias].vendor} (database {alias!r}).",
            hint="Everything else works; use a storage that can search for AUDIT['QUERY'].",
            id="audit.W004",
        )
        for alias in databases or ()
        if connections[alias].vendor not in SEARCHABLE_VENDORS
    ]
    for alias in databases or ():
        if missing := _missing_secrets(alias):
            hint = "Put the old secrets back at the end of AUDIT['SENSITIVE_KEYS'] and run `manage.py audit rotate-keys`."
            messages.append(
                Warning(
                    f"Data keys on {alias!r} are wrapped with secrets that AUDIT['SENSITIVE_KEYS'] does not have: "
                    f"{', '.join(missing)}. Nothing can be sealed or seen with them.",
                    hint=hint,
                    id="audit.W006",
                )
            )
    return messages


def _missing_secrets(alias: str) -> list[str]:
    """The ids of the secrets that keys of this alias are wrapped with and the settings do not have."""
    from audit_django.models import DataKey

    if DataKey._meta.db_table not in connections[alias].introspection.table_names():
        return []  # `migrate` runs the checks first
    known = conf.read(getattr(settings, "AUDIT", {}))[0].secrets.ids
    used = DataKey.objects.using(alias).filter(wrapped_by__isnull=False).exclude(wrapped_by__in=known)
    return sorted(filter(None, used.values_list("wrapped_by", flat=True).distinct()))
