"""Every setting of ``settings.AUDIT``, typed, with its default. A mistake is a :class:`Problem` that a system check shows."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from audit_core.errors import ConfigurationError
from audit_core.log import RESERVED
from audit_core.privacy.keys import Secrets, mistake_in

if TYPE_CHECKING:
    from audit_core.relay.settings import RelaySettings, Start

RELAYS = ("inline", "celery", "tasks", "worker")
MODELS = ("registered", "all")
ON_ERROR = ("required", "best_effort")
BEFORE = ("database", "instance")
DEFAULT_EXCLUDED_MODELS = (
    "admin.LogEntry",
    "auth.Permission",
    "authtoken.Token",  # of Django REST framework: its primary key is the secret
    "authtoken.TokenProxy",
    "contenttypes.ContentType",
    # Queues and what they remember of themselves: a task of the relay would be an event, which asks for a task.
    "django_celery_beat.PeriodicTask",
    "django_celery_beat.PeriodicTasks",
    "django_celery_results.ChordCounter",
    "django_celery_results.GroupResult",
    "django_celery_results.TaskResult",
    "django_tasks_database.DBTaskResult",
    "sessions.Session",
)
DEFAULT_SENSITIVE_PATTERN = (
    r"password|passwd|secret|token|api_?key|ssn|social_security|credit_?card|card_?(number|no$)|cvv|cvc|iban"
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the settings: the check's id, what is wrong, and what to do."""

    id: str
    message: str
    hint: str


@dataclass(frozen=True)
class AuditSettings:
    """The settings as the code reads them. The docs' settings page documents each under its upper-case name."""

    storages: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"default": {"BACKEND": "database"}}
    )
    streams: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    summarizer: Mapping[str, Any] | None = field(default_factory=lambda: {"BACKEND": "grammar"})
    query: str = "default"
    language: str = field(default_factory=lambda: settings.LANGUAGE_CODE)
    relay: str = "inline"
    relay_options: Mapping[str, Any] = field(default_factory=dict)
    relay_notify: bool = False
    databases: Sequence[str] = ("default",)
    models: str = "registered"
    exclude_models: Sequence[str] = DEFAULT_EXCLUDED_MODELS
    exclude_fields: Sequence[str] = ()
    on_error: str = "required"
    statement_event_above_rows: int | None = None
    max_value_bytes: int = 64 * 1024
    actor_resolver: str | None = None
    tenant_resolver: str | None = None
    tenants_of_user: str | None = None
    trusted_proxies: Sequence[str] = ()
    request_id_header: str = "X-Request-ID"
    sensitive_keys: Sequence[str] = field(default=(), repr=False)
    sensitive_pattern: str = DEFAULT_SENSITIVE_PATTERN

    @cached_property
    def excluded_models(self) -> frozenset[str]:
        """The labels of the models that are never audited, in lower case."""
        return frozenset(label.lower() for label in self.exclude_models)

    @cached_property
    def sensitive_names(self) -> re.Pattern[str] | None:
        """What the names of fields that are sensitive by default match; ``None`` when the pattern is empty."""
        return re.compile(self.sensitive_pattern, re.IGNORECASE) if self.sensitive_pattern else None

    @cached_property
    def secrets(self) -> Secrets:
        """What wraps data keys: ``sensitive_keys``."""
        return Secrets(self.sensitive_keys)

    @cached_property
    def proxies(self) -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]:
        """The networks of the proxies whose ``X-Forwarded-For`` is believed."""
        return [ipaddress.ip_network(network, strict=False) for network in self.trusted_proxies]

    @cached_property
    def relay_settings(self) -> RelaySettings:
        """The options of the relay."""
        from audit_core.relay import RelaySettings

        return RelaySettings(**self.relay_options)

    @cached_property
    def starts(self) -> Mapping[str, Start]:
        """Where each sink begins that was never served."""
        from audit_core.relay.settings import start_of

        sinks = {**self.storages, **self.streams}
        return {name: start_of(config.get("START", "first")) for name, config in sinks.items()}

    def resolver(self, name: str) -> Callable[..., Any] | None:
        """The callable that the setting ``name`` (``actor_resolver`` …) is the dotted path of."""
        path = getattr(self, name)
        return import_string(path) if path else None

    def query_storage(self) -> Any:
        """The storage that people read.

        Raises :class:`~audit_core.errors.ConfigurationError` for one that cannot be made, or cannot search.
        """
        from audit_core.storages.contract import SearchableStorage
        from audit_django.backends import storage

        found = storage(self.query)
        if not isinstance(found, SearchableStorage):
            raise ConfigurationError(
                f"AUDIT['QUERY'] names the storage {self.query!r}, which cannot search ({type(found).__name__}). Name one "
                f"that can, such as {{'BACKEND': 'database'}}."
            )
        return found

    def tenants_of(self, user: Any) -> Sequence[str] | None:
        """The tenants whose events ``user`` may see; ``None`` for all."""
        resolve = self.resolver("tenants_of_user")
        return None if resolve is None else resolve(user)


_NAMES = {f.name.upper(): f for f in fields(AuditSettings)}


def read(raw: Any) -> tuple[AuditSettings, list[Problem]]:
    """The settings in ``raw`` and what is wrong with them; wrong ones keep their default."""
    if not isinstance(raw, Mapping):
        return AuditSettings(), [
            Problem("audit.E001", "AUDIT is not a dictionary.", "Write AUDIT = {} to take every default.")
        ]
    problems, values = [], {}
    for key, value in raw.items():
        if key not in _NAMES:
            close = difflib.get_close_matches(str(key).upper(), _NAMES, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(sorted(_NAMES))}."
            problems.append(Problem("audit.E002", f"AUDIT has no setting {key!r}.", hint))
        elif problem := _problem(key, value):
            problems.append(problem)
        else:
            values[key.lower()] = value
    result = AuditSettings(**values)
    if result.query not in result.storages:
        problems.append(
            Problem(
                "audit.E005",
                f"AUDIT['QUERY'] names the storage {result.query!r}, which AUDIT['STORAGES'] does not have.",
                f"Name one of: {', '.join(sorted(result.storages))}.",
            )
        )
    if twice := set(result.storages) & set(result.streams):
        problems.append(
            Problem(
                "audit.E013",
                f"AUDIT['STORAGES'] and AUDIT['STREAMS'] both have {min(twice)!r}, but a sink has one cursor.",
                "Give one of them another name.",
            )
        )
    return result, problems


def _problem(key: str, value: Any) -> Problem | None:
    if key in ("STORAGES", "STREAMS"):
        return _backends_problem(key, value)
    if key == "SUMMARIZER":
        return None if value is None else _backend_problem(key, value)
    words = {"RELAY": RELAYS, "MODELS": MODELS, "ON_ERROR": ON_ERROR}.get(key)
    if words and value not in words:
        return Problem("audit.E004", f"AUDIT[{key!r}] is {value!r}.", f"Write one of: {', '.join(words)}.")
    if key == "RELAY_OPTIONS":
        return _relay_problem(value)
    expected = _TYPES.get(key, str | None)
    if isinstance(value, str) and expected is Sequence:
        shown = "…" if key == "SENSITIVE_KEYS" else repr(value)  # a check is printed, and logged
        return Problem("audit.E003", f"AUDIT[{key!r}] is one string.", f"Write a list: [{shown}].")
    if not isinstance(value, expected):
        return Problem(
            "audit.E003", f"AUDIT[{key!r}] is of type {type(value).__name__}.", f"It must be {expected}."
        )
    if key == "TRUSTED_PROXIES":
        return _networks_problem(value)
    if key == "SENSITIVE_KEYS" and (mistake := mistake_in(value)):
        return Problem(
            "audit.E006",
            f"AUDIT['SENSITIVE_KEYS']: {mistake}",
            "Make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    if key == "SENSITIVE_PATTERN":
        try:
            re.compile(value)
        except re.error as error:
            hint = "Write one that Python's `re` knows, or '' for none."
            return Problem("audit.E015", f"AUDIT[{key!r}] is no regular expression: {error}.", hint)
    return None


_TYPES: dict[str, Any] = {
    **dict.fromkeys(
        ("DATABASES", "EXCLUDE_MODELS", "EXCLUDE_FIELDS", "TRUSTED_PROXIES", "SENSITIVE_KEYS"), Sequence
    ),
    "MAX_VALUE_BYTES": int,
    "STATEMENT_EVENT_ABOVE_ROWS": int | None,
    "RELAY_NOTIFY": bool,
    **dict.fromkeys(("QUERY", "LANGUAGE", "REQUEST_ID_HEADER", "SENSITIVE_PATTERN"), str),
}


def _backends_problem(key: str, value: Any) -> Problem | None:
    if not isinstance(value, Mapping):
        return Problem("audit.E003", f"AUDIT[{key!r}] is not a dictionary.", "Map a name to {'BACKEND': …}.")
    for name, config in value.items():
        if name in RESERVED:
            return Problem(
                "audit.E007", f"AUDIT[{key!r}] names a backend {name!r}.", "The relay uses that name itself."
            )
        if problem := _backend_problem(f"{key}']['{name}", config):
            return problem
    return None


def _backend_problem(key: str, config: Any) -> Problem | None:
    if not isinstance(config, Mapping) or not isinstance(config.get("BACKEND"), str):
        return Problem(
            "audit.E003", f"AUDIT['{key}'] has no BACKEND.", "Write {'BACKEND': 'name', 'OPTIONS': {…}}."
        )
    if unknown := set(config) - {"BACKEND", "OPTIONS", *(() if key == "SUMMARIZER" else ("START",))}:
        return Problem(
            "audit.E003", f"AUDIT['{key}'] has the unknown key {min(unknown)!r}.", "Put it under 'OPTIONS'."
        )
    from audit_core.relay.settings import start_of

    try:
        start_of(config.get("START", "first"))
    except ValueError as error:
        return Problem("audit.E003", f"AUDIT['{key}']['START'] cannot be used.", str(error))
    return None


def _networks_problem(value: Sequence[str]) -> Problem | None:
    for network in value:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            return Problem(
                "audit.E008",
                f"AUDIT['TRUSTED_PROXIES'] has {network!r}, which is no address.",
                "Write addresses or networks such as '10.0.0.0/8'.",
            )
    return None


def _relay_problem(value: Any) -> Problem | None:
    from audit_core.relay import RelaySettings

    try:
        RelaySettings(**value)
    except (TypeError, ValueError) as error:
        names = ", ".join(f.name for f in fields(RelaySettings))
        return Problem(
            "audit.E009", f"AUDIT['RELAY_OPTIONS'] cannot be used: {error}", f"There are: {names}."
        )
    return None


@lru_cache(maxsize=1)
def get_settings() -> AuditSettings:
    """The settings in force. Raises :class:`~audit_core.errors.ConfigurationError` naming the first mistake."""
    result, problems = read(getattr(settings, "AUDIT", {}))
    if problems:
        raise ConfigurationError(
            f"{problems[0].message} {problems[0].hint} (`manage.py check` lists all mistakes.)"
        )
    return result


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("AUDIT", "LANGUAGE_CODE"):
        get_settings.cache_clear()


setting_changed.connect(_forget)
