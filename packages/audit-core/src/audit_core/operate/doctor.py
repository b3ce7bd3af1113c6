"""An examination of the whole: what the framework says, whether the backends answer, and whether the relay keeps up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from audit_core import backends
from audit_core.operate.stats import SinkState, stats
from audit_core.operate.trail import Finding, Installation, Level, Trail
from audit_core.plugins.errors import explain
from audit_core.plugins.manager import get_plugin_manager

MAX_LAG_SECONDS = 60.0
MAX_CLOCK_SECONDS = 5.0


def examine(installation: Installation) -> Iterator[Finding]:
    """Everything, in the order in which a mistake would show itself."""
    yield from installation.findings()
    problems = get_plugin_manager().problems()
    yield from (Finding("plugins", Level.WARNING, problem) for problem in problems)
    if not problems:
        yield Finding("plugins", Level.OK, "every installed plugin can be used")
    yield from check(installation)
    for trail in installation.trails():
        try:
            yield from _trail(trail)
        except Exception as error:  # noqa: BLE001 - that it cannot be examined is what was to be found out
            yield Finding(f"trail {trail.name}", Level.PROBLEM, f"It cannot be read: {explain(error)}")


def check(installation: Installation) -> Iterator[Finding]:
    """Every backend: whether it can be made, and what it says itself."""
    for place, make in installation.backends().items():
        try:
            found = backends.check(make())
        except Exception as error:  # noqa: BLE001 - a client library may raise anything; the next one is checked
            found = [explain(error)]
        yield from (Finding(place, Level.PROBLEM, problem) for problem in found)
        if not found:
            yield Finding(place, Level.OK, "reachable, permitted and sane")


def _trail(trail: Trail) -> Iterator[Finding]:
    found, here, command = stats(trail), f"trail {trail.name}", trail.command
    skew = abs((datetime.now(UTC) - found.at).total_seconds())
    if skew > MAX_CLOCK_SECONDS:
        words = f"This machine's clock and the database's are {skew:,.0f} s apart: events carry wrong times. Set both by NTP."
        yield Finding(here, Level.PROBLEM, words)
    else:
        yield Finding(here, Level.OK, "clocks agree")
    if found.waiting_seconds > MAX_LAG_SECONDS and trail.sinks:
        words = f"{found.waiting:,} events wait for their number, the oldest {found.waiting_seconds:,.0f} s. Is a relay running?"
        yield Finding(here, Level.PROBLEM, words)
    for reader in found.readers:
        subject = f"{here}, {reader.name}"
        if reader.state is SinkState.GONE:
            words = f"Not in the settings; holds up cleaning at seq {reader.seq:,}: `{command} sinks forget {reader.name}`."
            yield Finding(subject, Level.WARNING, words)
            continue
        if reader.state is SinkState.PAUSED:
            words = f"Paused, {reader.lag_events:,} events behind. `{command} sinks resume {reader.name}`."
            yield Finding(subject, Level.WARNING, words)
        elif reader.failures:
            yield Finding(
                subject, Level.PROBLEM, f"It failed {reader.failures} times in a row: {reader.error}"
            )
        elif reader.late_seconds > MAX_LAG_SECONDS:
            words = f"{reader.lag_events:,} events and {reader.lag_seconds:,.0f} s behind. Is a relay running? Is it enough?"
            yield Finding(subject, Level.PROBLEM, words)
        else:
            yield Finding(subject, Level.OK, f"at seq {reader.seq:,}, {reader.lag_events:,} events behind")
        if reader.parked:
            words = f"{reader.parked:,} events are parked. `{command} parked list` says why; then `{command} retry`."
            yield Finding(subject, Level.WARNING, words)
