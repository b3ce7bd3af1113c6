"""How many events there were in each hour, day, week …: what a timeline draws above its list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

from audit_core.query import EventQuery, InvalidQuery
from audit_storage_opensearch.searching import condition

Interval = Literal["minute", "hour", "day", "week", "month", "quarter", "year"]
MOST_BUCKETS = 10_000  # of one answer; OpenSearch's own limit (search.max_buckets) is 65,535
_NAME = "times"
NONE: Mapping[str, Any] = {_NAME: {"buckets": []}}  # the answer of no index


class Bucket(NamedTuple):
    """How many ``events`` occurred from ``start`` on until the interval ended."""

    start: datetime
    events: int


def request(query: EventQuery, interval: Interval, time_zone: str) -> dict[str, Any]:
    """The body of the search. Raises :class:`~audit_core.query.InvalidQuery`."""
    if interval not in get_args(Interval):
        raise InvalidQuery(
            f"There is no interval {interval!r}; take one of {', '.join(get_args(Interval))}.",
            filter="interval",
        )
    try:
        ZoneInfo(time_zone)
    except (ValueError, OSError, KeyError) as error:
        raise InvalidQuery(f"There is no time zone {time_zone!r}.", filter="time_zone") from error
    # A composite of one source: unlike date_histogram it has a limit of its own, and skips what is empty.
    source = {
        "date_histogram": {"field": "occurred_at", "calendar_interval": interval, "time_zone": time_zone}
    }
    return {
        "query": condition(query),
        "size": 0,
        "track_total_hits": False,
        "aggs": {_NAME: {"composite": {"size": MOST_BUCKETS, "sources": [{_NAME: source}]}}},
    }


def buckets(aggregations: Mapping[str, Any]) -> Sequence[Bucket]:
    """The answer, the earliest first. Raises :class:`~audit_core.query.InvalidQuery` when there are too many."""
    found = aggregations[_NAME]["buckets"]
    if len(found) == MOST_BUCKETS:
        raise InvalidQuery(
            f"There are {MOST_BUCKETS:,} intervals or more. Take longer ones, or a shorter period.",
            filter="interval",
        )
    return [
        Bucket(datetime.fromtimestamp(bucket["key"][_NAME] / 1000, UTC), bucket["doc_count"])
        for bucket in found
    ]
