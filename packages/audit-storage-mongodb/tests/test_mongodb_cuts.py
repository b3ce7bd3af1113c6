"""The connection is cut when the server has written and has not yet said so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from audit_core.errors import RetryableError
from audit_core.query import EventQuery
from audit_core.testing import make_event, make_events

pytestmark = pytest.mark.integration


class Proxy:
    """Passes bytes on to the server; while ``cut`` is set, hangs up instead of passing an answer of a write back."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"mongodb://127.0.0.1:{self._listener.getsockname()[1]}/"
        self.cut = threading.Event()
        self.cuts = 0
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self._server)
            self._sockets += [client, server]
            wrote = threading.Event()
            for pair in ((client, server, wrote, None), (server, client, None, wrote)):
                threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source, sink, writes, answers) -> None:
        try:
            while data := source.recv(65536):
                if writes is not None and b"insert" in data[:200]:
                    writes.set()
                if answers is not None and answers.is_set() and self.cut.is_set():
                    self.cuts += 1
                    break
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for one in self._sockets:
            one.close()


@pytest.fixture
def proxy(uri) -> Iterator[Proxy]:
    parts = urlsplit(uri)
    proxy = Proxy(parts.hostname, parts.port or 27017)
    yield proxy
    proxy.close()


def test_what_was_written_before_the_cut_is_there_once(make_storage, proxy):
    straight = make_storage()
    storage = make_storage(uri=proxy.uri, collection=straight._events.name)
    first, second = make_events(20, first_seq=1), [make_event(seq=21)]
    storage.write(second)
    proxy.cut.set()
    with pytest.raises(RetryableError, match="did not answer"):
        storage.write(first)
    assert proxy.cuts > 0
    assert len(straight.search(EventQuery(limit=100)).events) == 21  # it had been written
    proxy.cut.clear()
    storage.write([*first, *second])
    found = straight.search(EventQuery(limit=100)).events
    assert sorted(event.seq for event in found) == list(range(1, 22))
