"""Data keys in the clear, in the memory of this process, for a short time."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict

from audit_core.privacy.keys import DataKey, Scope

MAX_KEYS = 1000
MAX_SECONDS = 60.0  # how long a key that another process has destroyed may still be used to seal

_Place = tuple[str, Scope]


class KeyCache:
    """The committed keys that were used last, each for at most :data:`MAX_SECONDS`. Nothing is opened with them."""

    def __init__(self) -> None:
        self._begin()
        # A child of a fork must not wait for a lock that a thread of its parent held.
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._keys: OrderedDict[_Place, tuple[DataKey, float]] = OrderedDict()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._keys.clear()

    def get(self, using: str, scope: Scope) -> DataKey | None:
        """The key of a scope, if it is here."""
        with self._lock:
            found = self._keys.get((using, scope))
            if found is None:
                return None
            key, until = found
            if time.monotonic() >= until:
                del self._keys[using, scope]
                return None
            self._keys.move_to_end((using, scope))
            return key

    def put(self, using: str, key: DataKey) -> None:
        """Keep a key that is committed."""
        with self._lock:
            self._keys[using, key.scope] = key, time.monotonic() + MAX_SECONDS
            self._keys.move_to_end((using, key.scope))
            if len(self._keys) > MAX_KEYS:
                self._keys.popitem(last=False)
