"""How events leave: whole indices by a policy of OpenSearch's, or exactly by a moment.

The policy needs the plugin Index State Management (ISM), which OpenSearch's distributions and Amazon's service have and
a minimal one has not. It goes by the age of an index, so it keeps up to a month more than it was asked to, never less.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opensearchpy import NotFoundError, OpenSearch, RequestError, TransportError

from audit_storage_opensearch.documents import microseconds
from audit_storage_opensearch.indices import Names

LONGEST_MONTH_DAYS = 31
CLOCK_DAYS = 1  # by which the clock may be ahead that begins a month
DELETING_SECONDS = 3600  # how long the deletion of single events in one index may take


def policy(names: Names, retention_days: int) -> dict[str, Any]:
    """The body of the policy: delete the index of a month when all of its events are ``retention_days`` old."""
    age = f"{retention_days + LONGEST_MONTH_DAYS + CLOCK_DAYS}d"
    return {
        "policy": {
            "description": f"Events of the audit trail are kept for {retention_days} days.",
            "default_state": "kept",
            "states": [
                {
                    "name": "kept",
                    "actions": [],
                    "transitions": [{"state_name": "deleted", "conditions": {"min_index_age": age}}],
                },
                {"name": "deleted", "actions": [{"delete": {}}], "transitions": []},
            ],
            # An index of ids without a time never ends, so its age says nothing.
            "ism_template": [{"index_patterns": [names.dated_pattern], "priority": 100}],
        }
    }


def put_policy(client: OpenSearch, names: Names, retention_days: int) -> None:
    """Create or change the policy, and give it to the indices that are there. Does nothing without the plugin."""
    body = policy(names, retention_days)
    try:
        kept = kept_policy(client, names)
    except TransportError as error:
        if is_missing(error):
            return
        raise
    if kept is None:
        client.plugins.index_management.put_policy(names.policy, body=body)
    elif age_of(kept["policy"]) != age_of(body["policy"]):
        version = {"if_seq_no": kept["_seq_no"], "if_primary_term": kept["_primary_term"]}
        client.plugins.index_management.put_policy(names.policy, body=body, params=version)
    else:
        return
    if not client.indices.get_alias(index=names.dated_pattern):
        return
    # Indices that have no policy yet get it, those that have its last version get this one.
    target = {"policy_id": names.policy}
    client.plugins.index_management.add_policy(names.dated_pattern, body=target)
    client.plugins.index_management.change_policy(names.dated_pattern, body=target)


def kept_policy(client: OpenSearch, names: Names) -> dict[str, Any] | None:
    """The policy as OpenSearch has it."""
    try:
        found: dict[str, Any] = client.plugins.index_management.get_policy(names.policy)
    except NotFoundError:
        return None
    return found


def age_of(kept: Mapping[str, Any]) -> str | None:
    """At which age a policy deletes an index, if it is one of ours."""
    for state in kept.get("states", ()):
        for transition in state.get("transitions", ()):
            age: str | None = transition.get("conditions", {}).get("min_index_age")
            if age is not None:
                return age
    return None


def is_missing(error: TransportError) -> bool:
    """Whether the server does not know the plugin at all."""
    return isinstance(error, RequestError) and "no handler found" in str(error)


def prune(client: OpenSearch, names: Names, before: datetime, *, dry_run: bool) -> int:
    """Remove the events that occurred before this moment; return how many.

    An index in which nothing else is left goes as a whole, which costs nothing; only in the others are events deleted
    one by one.
    """
    old = {"query": {"range": {"occurred_us": {"lt": microseconds(before)}}}}
    removed = 0
    for index in sorted(client.indices.get_alias(index=names.pattern)):
        client.indices.refresh(index=index)
        number = _count(client, index, old)
        removed += _remove(client, index, old, number) if number and not dry_run else number
    return removed


def _count(client: OpenSearch, index: str, body: Mapping[str, Any]) -> int:
    # Not _count, which leaves out the shards that do not answer: what is in them would go with the index, uncounted.
    found = client.search(
        index=index,
        body={**body, "size": 0, "track_total_hits": True},
        allow_partial_search_results="false",
    )
    number: int = found["hits"]["total"]["value"]
    return number


def _remove(client: OpenSearch, index: str, old: Mapping[str, Any], number: int) -> int:
    if number == _count(client, index, {}) and _drop(client, index, number):
        return number
    answer = client.delete_by_query(index=index, body=old, refresh=True, request_timeout=DELETING_SECONDS)
    deleted: int = answer["deleted"]
    return deleted


def _drop(client: OpenSearch, index: str, number: int) -> bool:
    """Delete the index, unless it has more events than these by now."""
    # A writer that comes now is told to wait, and then makes the index anew: nothing that was acknowledged is dropped.
    client.indices.add_block(index=index, block="write")
    dropped = False
    try:
        client.indices.refresh(index=index)
        if _count(client, index, {}) == number:
            client.indices.delete(index=index)
            dropped = True
    finally:
        if not dropped:  # not permitted, for one: nobody's events shall wait for that
            client.indices.put_settings(index=index, body={"index.blocks.write": None})
    return dropped
