"""Where events can be kept and, if the store is able to, searched."""

from audit_core.storages.contract import PrunableStorage, SearchableStorage, Storage

__all__ = ["PrunableStorage", "SearchableStorage", "Storage"]
