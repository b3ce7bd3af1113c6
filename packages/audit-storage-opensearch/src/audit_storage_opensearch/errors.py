"""From what the server or the client library says to what a person should do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opensearchpy import exceptions

from audit_core.errors import AuditError, ConfigurationError, PermanentError, RetryableError

MOST_CHARACTERS = 500  # of the server's words
_THROTTLED = 429
_TOO_LARGE = 413

BLOCK = "cluster_block_exception"  # somebody or a full disk made the index, or all of them, read-only
BLOCKED = (
    "Nothing is lost: the events wait and are written when the block is gone. After a full disk (flood-stage watermark) "
    "free space or add nodes, then see that index.blocks.read_only_allow_delete is gone; any other block was set by "
    "somebody, and is removed with PUT INDEX/_settings."
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise what goes wrong inside as one of the trail's own errors."""
    try:
        yield
    except AuditError:
        raise
    except exceptions.TransportError as error:
        raise translate(error) from error
    except (exceptions.OpenSearchException, LookupError, TypeError, AttributeError) as error:
        # A page of HTML, nothing at all, or JSON in which what OpenSearch always says is missing.
        raise RetryableError(
            f"What answers is not OpenSearch, but perhaps a proxy before it ({type(error).__name__}). Look at the option hosts."
        ) from error


def translate(error: exceptions.TransportError) -> AuditError:
    """What ``error`` means for the whole request."""
    match error:
        case exceptions.SSLError():
            return ConfigurationError(
                f"The TLS connection to OpenSearch failed: {_shortened(str(error.error))}. Name the certificate of the "
                f"server's authority with OPTIONS['client'] = {{'ca_certs': path}}."
            )
        case exceptions.ConnectionTimeout():
            return RetryableError("OpenSearch did not answer in time (the option timeout_seconds).")
        case exceptions.ConnectionError():
            return RetryableError(f"OpenSearch cannot be reached: {_shortened(str(error.error))}.")
    status, (kind, reason) = error.status_code, cause(error)
    return by_status(status if isinstance(status, int) else 0, kind, reason)


def by_status(status: int, kind: str, reason: str) -> AuditError:
    """What an answer of this HTTP status and type means, for a request or for one document of it."""
    if kind == BLOCK:
        return RetryableError(f"OpenSearch takes no writes: {reason}. {BLOCKED}")
    match status:
        case 401:
            return ConfigurationError(
                f"OpenSearch refuses the credentials ({reason}). Look at username and password; with aws_region at the "
                f"role and at this machine's clock."
            )
        case 403:
            return ConfigurationError(
                f"OpenSearch does not permit this: {reason}. Give the user the role in the documentation of this storage."
            )
        case 404:
            return ConfigurationError(f"Something is missing in OpenSearch: {reason}. {RUN_SETUP}")
        case 400:
            return ConfigurationError(f"OpenSearch refuses the request: {reason}. {RUN_SETUP}")
        case _ if status == _TOO_LARGE:
            return PermanentError(
                f"A request was too large for OpenSearch, or for a proxy before it: {reason}. Lower the option "
                f"max_bulk_bytes; a single event that is larger needs a higher http.max_content_length."
            )
        case _ if status == _THROTTLED:
            return RetryableError(f"OpenSearch has too much to do: {reason}.")
    return RetryableError(f"OpenSearch answers with status {status}: {reason}.")


RUN_SETUP = "Run setup (`manage.py audit setup`, `audit setup`), then check."


def cause(error: exceptions.TransportError) -> tuple[str, str]:
    """The type and the words of the server's answer."""
    info = error.info
    details = info.get("error") if isinstance(info, Mapping) else None
    if isinstance(details, Mapping):
        return item_cause(details)
    return str(error.error), _shortened(str(details or info or error.error))


def item_cause(details: Mapping[str, Any]) -> tuple[str, str]:
    """The same for one document of a bulk request."""
    root = (details.get("root_cause") or [{}])[0]
    kind = root.get("type") or details.get("type") or "unknown"
    return str(kind), _shortened(str(root.get("reason") or details.get("reason") or kind))


def _shortened(text: str) -> str:
    text = text.strip().removesuffix(".").removesuffix(";")
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
