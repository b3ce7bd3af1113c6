"""The context of a request, sync and async."""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import cache
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.crypto import salted_hmac

from audit_core.context import audit_context, current, resumed
from audit_django.conf import AuditSettings, get_settings

_REQUEST_ID = re.compile(r"[\w.:/+=@-]{1,100}", re.ASCII)
_TRACEPARENT = re.compile(
    r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
)  # W3C Trace Context, section 3.2
_ADDRESS_AND_PORT = re.compile(r"\[([^\]]*)\](?::\d+)?|([\d.]+):\d+", re.ASCII)
MAX_USER_AGENT_CHARACTERS = 500
MAX_PATH_CHARACTERS = 1000


class AuditMiddleware:
    """Gives every event of a request its actor, address, ids and tenant. Put it after the authentication middleware.

    The actor is looked up when something is recorded, not before: an API framework may authenticate later than the middleware
    runs. The request id is taken over from the header ``REQUEST_ID_HEADER`` or made, and sent back in the response.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self._is_async:
            return self._acall(request)
        values = request_context(request)
        with audit_context(**values):
            response = self.get_response(request)
        if response.streaming and getattr(response, "file_to_stream", None) is None:
            response.streaming_content = _streamed(response, values)
        return self._mark(response, values)

    async def _acall(self, request: HttpRequest) -> HttpResponseBase:
        values = request_context(request)
        with audit_context(**values):
            response = await self.get_response(request)
        if response.streaming and getattr(response, "file_to_stream", None) is None:
            response.streaming_content = _streamed(response, values)
        return self._mark(response, values)

    @staticmethod
    def _mark(response: Any, values: dict[str, Any]) -> HttpResponseBase:
        response.headers.setdefault(get_settings().request_id_header, values["request_id"])
        return response  # type: ignore[no-any-return]


def _streamed(response: Any, values: dict[str, Any]) -> Any:
    """The content of a streaming response, which is made after the middleware has returned, in the request's context."""
    content = response.streaming_content
    return _async_chunks(content, values) if response.is_async else _chunks(content, values)


def _chunks(content: Any, values: dict[str, Any]) -> Iterator[Any]:
    iterator = iter(content)
    with audit_context(**values) as scope:
        pass
    while True:
        with resumed(scope):  # not around the yield: the variable would leak into the server's loop
            try:
                chunk = next(iterator)
            except StopIteration:
                return
            scope = current()  # the content may be inside a block of its own
        yield chunk


async def _async_chunks(content: Any, values: dict[str, Any]) -> AsyncIterator[Any]:
    iterator = aiter(content)
    with audit_context(**values) as scope:
        pass
    while True:
        with resumed(scope):
            try:
                chunk = await anext(iterator)
            except StopAsyncIteration:
                return
            scope = current()
        yield chunk


def request_context(request: HttpRequest) -> dict[str, Any]:
    """What :func:`audit_core.context.audit_context` is given for a request."""
    settings = get_settings()
    traceparent = request.headers.get("traceparent", "")
    resolve_tenant = settings.resolver("tenant_resolver")
    session_key = getattr(getattr(request, "session", None), "session_key", None)
    values = {
        "actor": lambda: getattr(request, "user", None),
        "ip": client_ip(request, settings),
        "user_agent": request.headers.get("User-Agent", "")[:MAX_USER_AGENT_CHARACTERS] or None,
        "method": request.method,
        "path": request.path[:MAX_PATH_CHARACTERS],  # without the query string, which may hold anything
        "session": _keyed(session_key) if session_key else None,
        "request_id": _request_id(request.headers.get(settings.request_id_header, "")),
        "traceparent": traceparent if _TRACEPARENT.fullmatch(traceparent) else None,
        "source": "request",
    }
    # `force_login()` of a test and `login()` in a script come with a bare request that knows nobody.
    if resolve_tenant is not None and hasattr(request, "user"):
        # Asked when something is recorded: the resolver may look at request.user, which an event loop must not load.
        values["tenant"] = cache(lambda: resolve_tenant(request))
    return values


def _keyed(session_key: str) -> str:
    return salted_hmac("audit_django.session", session_key, algorithm="sha256").hexdigest()[:16]


def _request_id(given: str) -> str:
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def client_ip(request: HttpRequest, settings: AuditSettings) -> str | None:
    """The client's address: ``REMOTE_ADDR``, or what a trusted proxy says of it.

    ``X-Forwarded-For`` is read from its end as long as the addresses are those of trusted proxies (RFC 7239, section 8.1): what
    stands before the first one that is not was written by anybody.
    """
    address = _address(request.META.get("REMOTE_ADDR", ""))
    if address is None or not settings.proxies:
        return str(address) if address else None
    chain = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",") if part.strip()]
    while chain and any(address in network for network in settings.proxies):
        forwarded = _address(chain.pop())
        if forwarded is None:
            break
        address = forwarded
    return str(address)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address in ``text``, without the port that some proxies write and without a zone, which can be any text."""
    with_port = _ADDRESS_AND_PORT.fullmatch(text)
    bare = with_port[with_port.lastindex or 0] if with_port else text
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address
