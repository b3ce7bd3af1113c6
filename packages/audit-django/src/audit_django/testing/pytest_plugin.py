"""The fixture ``captured_events``: loaded by pytest itself, so it imports nothing of Django before it is used."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from audit_django.testing.captured import CapturedEvents


@pytest.fixture(name="captured_events")
def captured_events_fixture(db: Any) -> Generator[CapturedEvents]:
    """The events that the test records on the default database."""
    from audit_django.testing.captured import captured_events

    with captured_events() as events:
        yield events
