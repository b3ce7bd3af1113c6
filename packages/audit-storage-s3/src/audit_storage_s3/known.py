"""Which ids an object holds, as small as they can be kept: 16 bytes an id, sorted."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable

ID_BYTES = 16
MAX_CACHED_BYTES = 32 * 1024 * 1024  # two million ids


class Ids:
    """A set of ids, given as text, that costs what the ids themselves take."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.packed = b"".join(sorted(map(_packed, ids)))

    def __len__(self) -> int:
        return len(self.packed) // ID_BYTES

    def __getitem__(self, index: int) -> bytes:
        return self.packed[index * ID_BYTES : (index + 1) * ID_BYTES]

    def __contains__(self, id_: str) -> bool:
        packed = _packed(id_)
        return self[bisect_left(self, packed)] == packed


def _packed(id_: str) -> bytes:
    return bytes.fromhex(id_.replace("-", ""))  # as UUID(id_).bytes, in a fifth of the time


class IdCache:
    """The ids of the objects that were written or looked at last, by key and ETag."""

    def __init__(self, max_bytes: int = MAX_CACHED_BYTES) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._ids: OrderedDict[tuple[str, str], Ids] = OrderedDict()
        self._bytes = 0

    def get(self, key: str, etag: str, read: Callable[[], Ids]) -> Ids:
        """The ids of this object, from ``read`` when they are not here."""
        with self._lock:
            if (key, etag) in self._ids:
                self._ids.move_to_end((key, etag))
                return self._ids[key, etag]
        ids = read()
        self.add(key, etag, ids)
        return ids

    def add(self, key: str, etag: str, ids: Ids) -> None:
        """Keep these, and forget those that were not asked for longest when it is too much."""
        with self._lock:
            if (key, etag) not in self._ids:
                self._bytes += len(ids.packed)
            self._ids[key, etag] = ids
            while self._bytes > self._max_bytes and len(self._ids) > 1:
                _, oldest = self._ids.popitem(last=False)
                self._bytes -= len(oldest.packed)
