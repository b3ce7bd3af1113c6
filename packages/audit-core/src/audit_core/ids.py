"""Event ids: UUIDv7, whose text order is the order of their making within one process."""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

_lock = threading.Lock()
_last_ms = 0
_counter = 0


def uuid7() -> UUID:
    """A new UUIDv7 (RFC 9562, section 5.7): 48 bits of Unix time in milliseconds, then a counter and random bits.

    ``rand_a`` and the upper bits of ``rand_b`` are a 42-bit counter that starts at random in each millisecond (section 6.2,
    method 1), so ids made by one process are strictly increasing, also when the clock steps back.
    """
    global _last_ms, _counter
    with _lock:
        now_ms = time.time_ns() // 1_000_000
        if now_ms > _last_ms:
            _last_ms = now_ms
            _counter = int.from_bytes(os.urandom(6), "big") >> 7  # 41 bits: the top bit leaves room to count
        else:
            _counter += 1
            if _counter >> 42:
                _last_ms += 1
                _counter = 0
        ms, counter = _last_ms, _counter
    tail = int.from_bytes(os.urandom(4), "big")
    rand_a = counter >> 30
    rand_b = (counter & 0x3FFFFFFF) << 32 | tail
    return UUID(int=ms << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)


def _forget() -> None:
    # A forked child shares the counter; a new millisecond of its own gives it new random bits.
    global _last_ms, _counter
    _last_ms, _counter = 0, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
