"""One client for each process."""

import os
import threading

import pytest

from audit_core.clients import PerProcess

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")


class Client:
    closed = False

    def close(self):
        self.closed = True


@pytest.fixture
def clients():
    return PerProcess(Client, Client.close)


def test_all_threads_share_one(clients):
    found = []
    threads = [threading.Thread(target=lambda: found.append(clients.get())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(map(id, found)) == {id(clients.get())}


def test_it_is_made_again_after_it_was_closed(clients):
    first = clients.get()
    clients.close()
    clients.close()
    assert first.closed
    assert clients.get() is not first
    assert not clients.get().closed


def test_what_making_it_raises_is_let_through_and_it_is_tried_again():
    made = iter([ValueError("no address"), Client()])

    def make():
        if isinstance(one := next(made), Exception):
            raise one
        return one

    clients = PerProcess(make, Client.close)
    with pytest.raises(ValueError, match="no address"):
        clients.get()
    assert isinstance(clients.get(), Client)


def test_a_child_makes_its_own_and_leaves_its_parents_alone(clients, monkeypatch):
    parents = clients.get()
    monkeypatch.setattr("os.getpid", lambda: -1)
    clients.close()
    assert not parents.closed
    assert clients.get() is not parents


def test_a_thread_has_a_client_while_another_one_closes(clients, monkeypatch):
    made, getpid = clients.get(), os.getpid

    def close_meanwhile():
        monkeypatch.setattr("os.getpid", getpid)
        clients.close()
        return getpid()

    monkeypatch.setattr("os.getpid", close_meanwhile)
    assert clients.get() is made


@needs_fork
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # that is what is tried
def test_a_fork_while_a_client_is_made_holds_the_child_up_for_nothing():
    begun, goes_on = threading.Event(), threading.Event()

    def make():
        begun.set()
        goes_on.wait(30)
        return Client()

    clients = PerProcess(make, Client.close)
    thread = threading.Thread(target=clients.get)
    thread.start()
    begun.wait(30)
    child = os.fork()
    if child == 0:
        threading.Timer(20, os._exit, [1]).start()
        goes_on.set()
        os._exit(0 if clients.get() else 2)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    goes_on.set()
    thread.join(30)
    assert status == 0
