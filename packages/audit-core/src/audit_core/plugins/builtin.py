"""Core's own plugin: what is built in is found the same way as everybody else's."""

from __future__ import annotations

from audit_core.plugins.markers import hookimpl


@hookimpl
def audit_register_storages() -> dict[str, str]:
    return {
        "jsonl": "audit_core.storages.jsonl.JsonLinesStorage",
        "memory": "audit_core.storages.memory.MemoryStorage",
    }


@hookimpl
def audit_register_streams() -> dict[str, str]:
    return {"memory": "audit_core.streams.memory.MemoryStream"}


@hookimpl
def audit_register_summarizers() -> dict[str, str]:
    return {"grammar": "audit_core.summarizers.grammar.GrammarSummarizer"}


@hookimpl
def audit_register_outboxes() -> dict[str, str]:
    return {
        "memory": "audit_core.memory.open_outbox",
        "sqlite": "audit_core.sqlite.database.open_outbox",
    }
