"""What a backend is tested with: a contract suite for each contract, events to feed it, and a clock that is
turned by hand.

    from audit_core.testing import StorageContract

    class TestMyStorage(StorageContract):
        @pytest.fixture
        def storage(self):
            return MyStorage()

Nothing here is imported before it is asked for: the suites need pytest, the rest does not.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit_core.testing.clock import VirtualClock
    from audit_core.testing.environment import LogEnvironment
    from audit_core.testing.events import make_event, make_events
    from audit_core.testing.log import LogContract
    from audit_core.testing.outbox import OutboxContract
    from audit_core.testing.search import SearchContract
    from audit_core.testing.storages import StorageContract
    from audit_core.testing.streams import StreamContract
    from audit_core.testing.summarizers import SummarizerContract

__all__ = [
    "LogContract",
    "LogEnvironment",
    "OutboxContract",
    "SearchContract",
    "StorageContract",
    "StreamContract",
    "SummarizerContract",
    "VirtualClock",
    "make_event",
    "make_events",
]

_HOMES = {
    "LogContract": "log",
    "LogEnvironment": "environment",
    "OutboxContract": "outbox",
    "SearchContract": "search",
    "StorageContract": "storages",
    "StreamContract": "streams",
    "SummarizerContract": "summarizers",
    "VirtualClock": "clock",
    "make_event": "events",
    "make_events": "events",
}

if "pytest" in sys.modules:
    # Without this a failing assertion of a suite would say nothing but "AssertionError".
    _suites = [f"{__name__}.{home}" for home in {*_HOMES.values(), "leases", "pages"}]
    sys.modules["pytest"].register_assert_rewrite(*(name for name in _suites if name not in sys.modules))


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
