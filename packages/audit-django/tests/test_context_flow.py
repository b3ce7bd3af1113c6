"""Where the context goes: event loops, threads, executors, generators, streams, forks."""

import asyncio
import contextvars
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.local import Local
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.core.asgi import get_asgi_application
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient
from django.urls import path
from testapp.models import Policy, Tag

from audit_core.context import audit_context, current
from audit_django import with_reason
from audit_django.testing import captured_events

pytestmark = pytest.mark.django_db


async def write(request):
    """The async twins of the ORM's ways of writing; each user has tags of its own."""
    user = await request.auser()
    tag = await Tag.objects.acreate(name=f"{user} created")
    tag.name = f"{user} saved"
    await tag.asave()
    await Tag.objects.aget_or_create(name=f"{user} got")
    await Tag.objects.aupdate_or_create(name=f"{user} saved", defaults={"name": f"{user} updated"})
    await tag.adelete()
    await asyncio.gather(*(Tag.objects.acreate(name=f"{user} gathered {number}") for number in range(3)))
    return HttpResponse()


async def fail(request):
    await Tag.objects.acreate(name="before")
    raise RuntimeError("on purpose")


def write_sync(request):
    Tag.objects.create(name="sync")
    return HttpResponse()


async def log_in(request):
    from django.contrib.auth import alogin

    await alogin(request, await User.objects.aget(username="alice"))
    await Tag.objects.acreate(name="after")
    return HttpResponse()


async def stream(request):
    async def chunks():
        await Tag.objects.acreate(name="first")
        yield b"1"
        with audit_context(reason="second part"):
            await Tag.objects.acreate(name="second")
            yield b"2"
            await Tag.objects.acreate(name="third")
        yield b"3"
        await Tag.objects.acreate(name="fourth")

    return StreamingHttpResponse(chunks())


def stream_sync(request):
    def chunks():
        Tag.objects.create(name="first")
        yield b"1"
        with audit_context(reason="second part"):
            Tag.objects.create(name="second")
            yield b"2"
            Tag.objects.create(name="third")
        yield b"3"
        Tag.objects.create(name="fourth")

    return StreamingHttpResponse(chunks())


urlpatterns = [
    path(f"{view.__name__}/", view) for view in (write, fail, write_sync, log_in, stream, stream_sync)
]


@pytest.fixture(autouse=True)
def project(settings):
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def alice(db):
    return User.objects.create_user("alice")


@pytest.fixture
def browser(alice):
    client = AsyncClient(raise_request_exception=False)
    client.force_login(alice)
    return client


def actors(events):
    return {event.actor.username for event in events}


class TestAsync:
    """Async views, behind the middleware, with Django's test client."""

    def test_the_async_ways_of_writing_32(self, browser):
        with captured_events() as events:
            assert async_to_sync(browser.get)("/write/").status_code == 200
        assert [event.action for event in events] == [
            *("create", "update", "create", "update", "delete"),
            *["create"] * 3,
        ]
        assert actors(events) == {"alice"}
        assert len({event.context.request_id for event in events}) == 1

    def test_a_sync_view_32(self, browser):
        with captured_events() as events:
            async_to_sync(browser.get)("/write_sync/")
        assert events.one("create").actor.username == "alice"

    def test_nothing_stays_after_an_exception_31(self, browser):
        async def visit():
            response = await browser.get("/fail/")
            return response.status_code, current()

        with captured_events() as events:
            status, left = async_to_sync(visit)()
        assert (status, left.actor, left.context.request_id) == (500, None, None)
        assert events.one("create").actor.username == "alice"

    def test_a_login_33(self, alice):
        with captured_events() as events:
            async_to_sync(AsyncClient().get)("/log_in/")
        assert [(event.action, event.actor.username) for event in events] == [
            ("login", "alice"),
            ("create", "alice"),
        ]

    @pytest.mark.parametrize("address", ["/stream/", "/stream_sync/"])
    @pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume:Warning")
    def test_a_streaming_response_32(self, address, browser):
        async def visit():
            response = await browser.get(address)
            content = [chunk async for chunk in response]
            return content, current().actor

        with captured_events() as events:
            assert async_to_sync(visit)() == ([b"1", b"2", b"3"], None)
        assert actors(events) == {"alice"}
        assert [event.reason for event in events] == [None, "second part", "second part", None]


def test_a_streaming_response_of_a_threaded_server_32(client, alice):
    client.force_login(alice)
    with captured_events() as events:
        response = client.get("/stream_sync/")
        for _ in response:
            assert current().actor is None  # the server's own loop
    assert actors(events) == {"alice"}
    assert [event.reason for event in events] == [None, "second part", "second part", None]


@pytest.mark.django_db(transaction=True)
def test_requests_of_one_asgi_application_30(alice):
    """Django's handler itself, with two users' requests at once: each keeps its own actor, and the loop keeps none."""
    from django.test import Client

    application = get_asgi_application()

    async def visit(cookie, address):
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "GET",
            "path": address,
            "query_string": b"",
            "headers": [(b"host", b"testserver"), (b"cookie", cookie)],
        }
        communicator = ApplicationCommunicator(application, scope)
        await communicator.send_input({"type": "http.request"})
        start = await communicator.receive_output(10)
        more = True
        while more:
            more = (await communicator.receive_output(10)).get("more_body", False)
        await communicator.wait(10)
        return start["status"]

    async def main(cookies):
        visits = [
            visit(cookie, address)
            for cookie in cookies
            for address in ("/write/", "/stream/", "/write_sync/")
        ]
        if connection.vendor == "sqlite":  # it has one writer, and refuses the others
            statuses = [await visit for visit in visits]
        else:
            statuses = await asyncio.gather(*visits)
        assert current().actor is None
        return statuses

    cookies = []
    for user in (alice, User.objects.create_user("bob")):
        client = Client()
        client.force_login(user)
        cookies.append(f"sessionid={client.cookies['sessionid'].value}".encode())
    with captured_events() as events:
        assert set(async_to_sync(main)(cookies)) == {200}
    by_request = {}
    for event in events:
        by_request.setdefault(event.context.request_id, set()).add(event.actor.username)
    assert sorted(by_request.values(), key=str) == [{"alice"}] * 3 + [{"bob"}] * 3


class TestTasksOfALoop:
    def test_a_child_task_inherits_and_never_leaks_back_30(self):
        async def child():
            seen = current().actor
            with audit_context(actor="child"):
                await asyncio.sleep(0)
                return seen

        async def main():
            with audit_context(actor="alice"):
                task = asyncio.create_task(child())
                await asyncio.sleep(0)
                assert current().actor == "alice"
                assert await task == "alice"
                assert current().actor == "alice"

        asyncio.run(main())

    def test_a_child_that_outlives_its_request_keeps_its_actor_30(self):
        async def main():
            release = asyncio.Event()

            async def child():
                await release.wait()
                return current().actor

            with audit_context(actor="alice"):
                task = asyncio.create_task(child())
            with audit_context(actor="bob"):
                release.set()
                return await task

        assert asyncio.run(main()) == "alice"

    def test_from_async_to_sync_and_back_32(self):
        async def inner():
            return current().actor

        def outer():
            with audit_context(reason="sync"):
                return async_to_sync(inner)(), current().reason

        async def main():
            with audit_context(actor="alice"):
                result = await sync_to_async(outer)()
                return result, current().reason

        assert async_to_sync(main)() == (("alice", "sync"), None)

    def test_a_thread_of_the_loop_32(self):
        async def main():
            with audit_context(actor="alice"):
                return await asyncio.to_thread(lambda: current().actor)

        assert asyncio.run(main()) == "alice"

    def test_a_reason_for_an_async_block_31(self):
        async def main():
            with pytest.raises(ZeroDivisionError), with_reason("outer"), audit_context(reason="inner"):
                await asyncio.sleep(0)
                raise ZeroDivisionError
            return current().reason

        assert asyncio.run(main()) is None


class TestThreads:
    """The recipes of docs/howto/actor-and-tenant.md."""

    def test_a_thread_with_the_context_32(self):
        seen = []
        with audit_context(actor="alice"):
            thread = threading.Thread(
                target=contextvars.copy_context().run, args=[lambda: seen.append(current().actor)]
            )
        thread.start()
        thread.join()
        assert seen == ["alice"]

    def test_an_executor_with_the_context_32(self):
        def who(number):
            with audit_context(reason=str(number)):
                return current().actor, current().reason

        with ThreadPoolExecutor(2) as pool:
            with audit_context(actor="alice"):
                futures = [pool.submit(contextvars.copy_context().run, who, number) for number in range(4)]
            assert [future.result() for future in futures] == [("alice", str(number)) for number in range(4)]
            assert (
                pool.submit(lambda: current().actor).result() is None
            )  # nothing stays in the pool's threads

    def test_a_generator_that_nobody_finishes_31(self):
        def numbers():
            with audit_context(actor="generator"):
                yield 1

        generator = numbers()
        with audit_context(actor="alice"):
            next(generator)
            generator.close()
            assert current().actor == "alice"
        assert current().actor is None


FORK = """
import os
from audit_core.context import audit_context, current
with audit_context(actor="alice"):
    child = os.fork()
    if not child:
        with audit_context(actor="child"):
            pass
        os._exit(0 if current().actor == "alice" else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert current().actor is None
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_fork_goes_on_in_the_context_58():
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)


_local = Local()


def who():
    """A helper as projects have it: the user of this request, kept by a middleware."""
    return getattr(_local, "user", None)


def test_a_resolver_in_async_code_32(settings):
    settings.AUDIT = {"ACTOR_RESOLVER": f"{__name__}.who"}

    async def main():
        _local.user = "alice"
        await Tag.objects.acreate(name="x")
        del _local.user

    with captured_events() as events:
        async_to_sync(main)()
    assert events.one("create").actor.username == "alice"


SERVER_SIDE = """
import django
django.setup()
from audit_django import audit_context
from django.db import connection
from testapp.models import Customer, Policy, Tag
assert connection.features.uses_server_side_binding
with audit_context(actor="alice", reason="50% of %s", tenant="northwind", ticket="%(x)s"):
    customer = Customer.objects.create(name="Jane %s Doe")
    policy = Policy.objects.create(number="P-1", customer=customer)
    policy.premium = 5
    policy.save()
    policy.tags.set([Tag.objects.create(name="x")])
    Policy.objects.filter(pk=policy.pk).delete()
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    connection.vendor != "postgresql", reason="needs PostgreSQL: AUDIT_TEST_DATABASE=postgres"
)
def test_parameters_that_the_server_binds_32():
    keys = ("NAME", "ENGINE", "USER", "PASSWORD", "HOST", "PORT")
    database = {key: connection.settings_dict[key] for key in keys}
    database["OPTIONS"] = {"server_side_binding": True}
    environment = {**os.environ, "AUDIT_TEST_WORKER_DATABASE": json.dumps(database)}
    environment |= {"DJANGO_SETTINGS_MODULE": "django_settings", "PYTHONPATH": os.path.dirname(__file__)}
    with captured_events() as events:
        subprocess.run([sys.executable, "-c", SERVER_SIDE], env=environment, check=True, timeout=60)
    assert {event.reason for event in events} == {"50% of %s"}
    assert {event.extra["ticket"] for event in events} == {"%(x)s"}
    assert len(events.matching("delete", Policy)) == 1
