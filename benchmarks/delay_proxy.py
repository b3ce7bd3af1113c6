"""A TCP proxy, in a process of its own, that keeps every answer back: a database server in another rack."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress


@contextmanager
def delayed(address: tuple[str, int], seconds: float) -> Generator[int]:
    """The port of a proxy to ``address`` for the length of the block."""
    server = socket.create_server(("127.0.0.1", 0))
    process = multiprocessing.get_context("fork").Process(target=_serve, args=(server, address, seconds))
    process.start()
    port = server.getsockname()[1]
    server.close()
    try:
        yield port
    finally:
        process.kill()
        process.join()


def _serve(server: socket.socket, address: tuple[str, int], seconds: float) -> None:
    while True:
        client, _ = server.accept()
        upstream = socket.create_connection(address)
        for one in (client, upstream):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pair in ((client, upstream, 0.0), (upstream, client, seconds)):
            threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket, seconds: float) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            time.sleep(seconds)
            target.sendall(data)
    for one in (source, target):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
