"""The client of opensearch-py, made from the storage's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from opensearchpy import ConnectionError as LostConnection
from opensearchpy import OpenSearch, Urllib3HttpConnection
from opensearchpy.exceptions import ImproperlyConfigured

from audit_core.clients import PerProcess
from audit_core.errors import ConfigurationError

THREADS = 10  # that can each keep a connection open
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class WholeAnswers(Urllib3HttpConnection):
    """Takes an answer that ends with its headers for what it is, a lost connection; Python's HTTP client takes headers that
    were cut off for complete. The server gives every answer a body, but those to HEAD.
    """

    def perform_request(self, method: str, *arguments: Any, **options: Any) -> Any:
        """As the client library has it."""
        answer = super().perform_request(method, *arguments, **options)
        if method != "HEAD" and not answer[-1]:
            raise LostConnection("N/A", "the connection was lost in the middle of the answer", None)
        return answer


class Connection:
    """One client for all threads of a process, and what its options say."""

    def __init__(
        self,
        hosts: str | Sequence[str],
        *,
        username: str | None,
        password: str | None,
        aws_region: str | None,
        timeout_seconds: float,
        client: Mapping[str, Any],
    ) -> None:
        self._urls = _urls(hosts)
        if (username is None) != (password is None):
            raise ConfigurationError("The options username and password belong together: give both or none.")
        if aws_region is not None and username is not None:
            raise ConfigurationError("Give either aws_region or username and password, not both.")
        if timeout_seconds <= 0:
            raise ConfigurationError(f"The option timeout_seconds is {timeout_seconds}; it must be above 0.")
        self._arguments: dict[str, Any] = {
            "timeout": timeout_seconds,
            "verify_certs": True,
            "connection_class": WholeAnswers,
            "pool_maxsize": THREADS,
        }
        if username is not None:
            # OpenSearch reads UTF-8, and urllib3 writes Latin-1.
            self._arguments["http_auth"] = tuple(
                str(part).encode().decode("latin-1") for part in (username, password)
            )
        if aws_region is not None:
            self._arguments["http_auth"] = _aws_signer(aws_region)
        self._arguments |= client
        self._client = PerProcess(self._make, OpenSearch.close)

    def client(self) -> OpenSearch:
        """The client of this process. Raises :class:`~audit_core.errors.ConfigurationError` for unfit options."""
        return self._client.get()

    def close(self) -> None:
        """Close the sockets of this process; the next use opens new ones."""
        self._client.close()

    def _make(self) -> OpenSearch:
        try:
            return OpenSearch(self._urls, **self._arguments)
        except ImproperlyConfigured as error:
            raise ConfigurationError(f"The OpenSearch client cannot be made: {error}.") from error

    def insecurities(self) -> list[str]:
        """What is wrong with the protection of this connection, in words."""
        encrypted = [url for url in self._urls if urlsplit(url).scheme == "https"]
        if encrypted and not self._arguments["verify_certs"]:
            return [
                "The server's certificate is not verified (verify_certs is off), so anybody on the way can read and "
                "change events. Name the authority's certificate instead: OPTIONS['client'] = {'ca_certs': path}."
            ]
        remote = [url for url in self._urls if urlsplit(url).hostname not in _LOOPBACK]
        if set(remote) - set(encrypted):
            return ["Events and credentials travel without encryption. Use https:// in the option hosts."]
        return []


def _urls(hosts: str | Sequence[str]) -> list[str]:
    urls = [hosts] if isinstance(hosts, str) else list(hosts)
    for number, url in enumerate(urls):
        if not _is_address(url):
            # The address itself may hold a password, so it is not shown.
            raise ConfigurationError(
                f"Address {number + 1} in the option hosts is none: write 'https://search.example.com:9200'."
            )
    if not urls:
        raise ConfigurationError("The option hosts is empty: name at least one address.")
    return urls


def _is_address(url: Any) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, TypeError, AttributeError):  # no text, no port, half an IPv6 address
        return False


def _aws_signer(region: str) -> Any:
    """Signs each request with what boto3 finds: a role, a profile, the environment."""
    try:
        import boto3
    except ImportError as error:
        raise ConfigurationError(
            'The option aws_region needs boto3: pip install "audit-storage-opensearch[aws]".'
        ) from error
    from opensearchpy import Urllib3AWSV4SignerAuth

    credentials = boto3.Session().get_credentials()
    if credentials is None:
        raise ConfigurationError("boto3 finds no AWS credentials: give this process a role or a profile.")
    return Urllib3AWSV4SignerAuth(credentials, region)
