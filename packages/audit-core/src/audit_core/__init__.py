"""The audit trail's framework-agnostic core.

Read the modules in the order of an event's way: :mod:`~audit_core.event`, :mod:`~audit_core.diff` and
:mod:`~audit_core.codec` say what a fact is; :mod:`~audit_core.context` and :mod:`~audit_core.privacy` say who did it
and what nobody may see; :mod:`~audit_core.recorder` builds it; :mod:`~audit_core.outbox` and :mod:`~audit_core.log`
keep it; :mod:`~audit_core.relay` moves it on; :mod:`~audit_core.query` finds it again.
"""

from importlib.metadata import version

from audit_core.context import audit_context, with_reason
from audit_core.diff import Change, Diff
from audit_core.errors import AuditError, ConfigurationError, PartialWrite, PermanentError, RetryableError
from audit_core.event import Actor, Category, Context, Event, Outcome, RecordedEvent, Target
from audit_core.plugins.markers import hookimpl
from audit_core.query import EventQuery, Page

__version__ = version("audit-core")

__all__ = [
    "Actor",
    "AuditError",
    "Category",
    "Change",
    "ConfigurationError",
    "Context",
    "Diff",
    "Event",
    "EventQuery",
    "Outcome",
    "Page",
    "PartialWrite",
    "PermanentError",
    "RecordedEvent",
    "RetryableError",
    "Target",
    "audit_context",
    "hookimpl",
    "with_reason",
]
