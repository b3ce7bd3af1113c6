"""A sink that can be put out of order."""

from collections.abc import Sequence
from pathlib import Path

from audit_core.errors import RetryableError
from audit_core.event import RecordedEvent
from audit_core.storages.jsonl import JsonLinesStorage


class Frail(JsonLinesStorage):
    """Out of order as long as there is a file beside its own, named ``down``."""

    def write(self, events: Sequence[RecordedEvent]) -> None:
        """Append the events, or raise."""
        if Path(self.path).with_name("down").exists():
            raise RetryableError("down")
        super().write(events)
