"""Where events can be kept and, if the store is able to, searched."""

from audit_core.storages.contract import (
    CompactableStorage,
    PrunableStorage,
    ReadableStorage,
    SearchableStorage,
    Storage,
    VerifiableStorage,
)

__all__ = [
    "CompactableStorage",
    "PrunableStorage",
    "ReadableStorage",
    "SearchableStorage",
    "Storage",
    "VerifiableStorage",
]
