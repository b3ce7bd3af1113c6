"""What is wrong with plugins and with the names people give, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from audit_core.errors import AuditError, ConfigurationError


class PluginError(ConfigurationError):
    """A plugin that is needed is broken or blocked, or two plugins claim one name."""


class UnknownBackendError(ConfigurationError):
    """A ``BACKEND`` that no plugin registers and that is no dotted path."""


class HookError(AuditError):
    """A plugin raised in a hook without whose answer the event would be wrong, so nothing was written.

    Neither this message nor its cause repeats the exception's words: they may quote the value of a sensitive
    field.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` with the known name that is most like ``name``, or an empty text."""
    by_lower = {item.lower(): item for item in known}
    matches = get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean {by_lower[matches[0]]!r}?" if matches else ""


def explain(error: BaseException) -> str:
    """Why something could not be loaded, in one line: our own words, or the class and words of ``error``."""
    words = " ".join(str(error).split())
    if isinstance(error, ConfigurationError):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def location(error: BaseException, module: str) -> str:
    """Where in ``module`` the call was made that raised ``error``, without the error's words."""
    line, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_globals.get("__name__") == module:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return f"{module}, line {line}" if line else module
