"""What is wrong, in words: each with what to do about it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from opensearchpy import NotFoundError, OpenSearch, TransportError

from audit_core.errors import AuditError
from audit_storage_opensearch.errors import BLOCKED, RUN_SETUP, by_status, item_cause, translated
from audit_storage_opensearch.indices import DURABILITY, FIELDS, Names
from audit_storage_opensearch.retention import CLOCK_DAYS, age_of, is_missing, kept_policy, policy

MOST_SKEW_SECONDS = 60
KNOWN_VERSIONS = (2, 3)  # major versions of OpenSearch
_NO_INDEX = 404


def problems(client: OpenSearch, names: Names, retention_days: int | None) -> Iterator[str]:
    """Everything that is wrong. When the server does not answer, only that."""
    try:
        with translated():
            yield from _version(client)
    except AuditError as error:
        yield str(error)
        return
    retention = partial(_retention, retention_days=retention_days)
    for examine in (_clock, _permission, _template, _indices, retention):
        try:
            with translated():
                yield from examine(client, names)
        except AuditError as error:
            yield str(error)


def _version(client: OpenSearch) -> Iterator[str]:
    version = client.info()["version"]
    distribution, number = version.get("distribution"), str(version.get("number"))
    if distribution != "opensearch":
        yield f"The server is no OpenSearch (it says {distribution or 'Elasticsearch'} {number}). Name another one in hosts."
    elif not number.startswith(tuple(f"{major}." for major in KNOWN_VERSIONS)):
        yield f"The server is OpenSearch {number}; this storage is for the major versions 2 and 3."


def _clock(client: OpenSearch, names: Names) -> Iterator[str]:
    before = time.time()
    # There is no Date header. The number is in whole seconds, cut off: half a second is what is lost on average.
    server = float(client.cat.health(format="json", h="epoch")[0]["epoch"]) + 0.5
    skew = round(server - (before + time.time()) / 2)
    if abs(skew) > MOST_SKEW_SECONDS:
        yield (
            f"The clock of OpenSearch is {abs(skew)} s {'ahead of' if skew > 0 else 'behind'} this machine's. Events "
            f"occur by this one and are deleted by that one: set both by NTP."
        )


def _permission(client: OpenSearch, names: Names) -> Iterator[str]:
    # A document for an alias that does not exist (no storage has a name with such a dot): whoever may write is told so, and
    # nobody has written anything.
    probe = [{"create": {"_index": f"{names.all}-check.none", "_id": "check"}}, {}]
    answer = client.bulk(body=probe, require_alias=True)["items"][0]["create"]
    if answer["status"] != _NO_INDEX:
        yield str(by_status(answer["status"], *item_cause(answer["error"])))


def _template(client: OpenSearch, names: Names) -> Iterator[str]:
    try:
        found = client.indices.get_index_template(name=names.template)
    except NotFoundError:
        yield f"The index template {names.template} is missing. {RUN_SETUP}"
        return
    template = found["index_templates"][0]["index_template"].get("template", {})
    yield from _mapping(f"The index template {names.template}", template.get("mappings", {}))


def _mapping(place: str, mapping: Mapping[str, Any]) -> Iterator[str]:
    kept = mapping.get("properties", {})
    wrong = [name for name, field in FIELDS.items() if kept.get(name, {}).get("type") != field["type"]]
    if wrong:
        yield (
            f"{place} has not the fields that are written ({', '.join(wrong)} are missing or of another type). Run "
            f"setup; where that does not help, the index is not this storage's: move it away."
        )


def _indices(client: OpenSearch, names: Names) -> Iterator[str]:
    for index, found in sorted(client.indices.get(index=names.pattern, flat_settings=True).items()):
        yield from _mapping(f"The index {index}", found["mappings"])
        settings = found["settings"]
        if settings.get(f"index.{DURABILITY}", "request") != "request":
            yield f"In {index} an acknowledged event can be lost in a crash: set index.{DURABILITY} to request."
        blocks = [
            name for name, value in settings.items() if name.startswith("index.blocks.") and value == "true"
        ]
        if blocks:
            yield f"{index} takes no writes ({', '.join(blocks)}). {BLOCKED}"
        if names.all not in found["aliases"]:
            yield f"{index} has lost its alias {names.all}, so its events are not found. Add it (POST _aliases)."
    health = client.cluster.health(index=names.pattern, level="indices")
    for index, state in sorted(health.get("indices", {}).items()):
        if state["status"] == "red":
            yield f"Parts of {index} are not available: GET _cluster/allocation/explain says why."
        elif state["status"] == "yellow":
            yield (
                f"{index} has fewer copies than it should: one disk more to fail can take events along. Add a node, or "
                f"set number_of_replicas (OPTIONS['index_settings'], and PUT {index}/_settings)."
            )


def _retention(client: OpenSearch, names: Names, retention_days: int | None) -> Iterator[str]:
    try:
        kept = kept_policy(client, names)
    except TransportError as error:
        if not is_missing(error):
            raise
        if retention_days is not None:
            yield (
                f"Nothing removes events after {retention_days} days: this server has not the plugin Index State Management. "
                f"Call prune() regularly, or keep everything (retention_days: None)."
            )
        return
    if retention_days is None:
        if kept is not None:
            yield (
                f"The retention policy {names.policy} goes on deleting, although retention_days is None. Take it off: POST "
                f"_plugins/_ism/remove/{names.pattern}, then DELETE _plugins/_ism/policies/{names.policy}."
            )
        return
    if kept is None:
        yield f"The retention policy {names.policy} is missing, so events are kept for ever. {RUN_SETUP}"
    elif age_of(kept["policy"]) != age_of(policy(names, retention_days)["policy"]):
        yield f"The retention policy {names.policy} does not keep events for {retention_days} days. {RUN_SETUP}"
    begun = names.index_behind(names.alias_of_month(datetime.now(UTC) + timedelta(days=CLOCK_DAYS)))
    for index in sorted(client.indices.get_alias(index=names.dated_pattern)):
        if index > begun:
            yield (
                f"{index} is of a month to come: a clock was wrong, or an id forged. The retention policy counts from today and "
                f"will delete that month too early. Take it off (POST _plugins/_ism/remove/{index}) and leave it to prune()."
            )
