"""How many sentences a second the grammar summarizer writes on one core: ``python benchmarks/grammar.py``."""

from __future__ import annotations

import time
from collections.abc import Callable

from audit_core.event import Event
from audit_core.summarizers import sentence
from audit_core.testing.summarizers import OWNER, PREMIUM, STATUS, TAGS, event_of, sample_events

SECONDS = 1.0


def per_second(event: Event, say: Callable[[Event], str] = sentence) -> float:
    """Sentences a second, measured for :data:`SECONDS`."""
    say(event)
    done, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < SECONDS:
        for _ in range(100):
            say(event)
        done += 100
    return done / elapsed


def main() -> None:
    """Print a line for each sort of event."""
    cases = {
        "three fields": event_of(STATUS, OWNER, PREMIUM),
        "two fields and a tag": event_of(STATUS, OWNER, TAGS),
    }
    cases |= {sort: sample_events()[sort] for sort in ("money", "json", "create", "many fields", "hostile")}
    for name, event in cases.items():
        print(f"{name:22} {per_second(event):>10,.0f} sentences/s   {len(sentence(event)):>3} characters")


if __name__ == "__main__":
    main()
