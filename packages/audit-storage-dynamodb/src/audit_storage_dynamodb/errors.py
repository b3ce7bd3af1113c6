"""What boto3 and DynamoDB raise, in the trail's own words: who should act, and how.

The codes are those of the API reference: "Error Handling with DynamoDB" for requests, BatchStatementError for
the statements of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from audit_core.errors import AuditError, ConfigurationError, PermanentError, RetryableError

THROTTLED = frozenset(
    {
        "ProvisionedThroughputExceeded",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingError",
        "ThrottlingException",
    }
)
REFUSED = frozenset({"ItemCollectionSizeLimitExceeded", "ValidationError"})
"""What a statement of a batch fails with when the item will never be taken."""

_INVALID = frozenset({"SerializationException", "ValidationException"})
_CREDENTIALS = frozenset(
    {
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)
_NO_CREDENTIALS = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.ProfileNotFound,
    boto.TokenRetrievalError,
    boto.SSOTokenLoadError,
    boto.UnauthorizedSSOTokenError,
)
_MISCONFIGURED = (
    boto.ConfigParseError,
    boto.EndpointVariantError,
    boto.InvalidConfigError,
    boto.InvalidProxiesConfigError,
    boto.InvalidRetryConfigurationError,
    boto.MissingDependencyException,
    boto.UnknownEndpointError,
)
_CHAIN = (
    "They come from boto3's chain: environment, shared files, web identity, or the role of the container or "
    "instance."
)


@contextmanager
def explained(table: str, problems: Callable[[], list[str]] = list) -> Generator[None]:
    """Turn what boto3 raises inside into the errors of :mod:`audit_core.errors`.

    ``problems`` is asked what is wrong with the table when DynamoDB calls a request invalid: against a table
    of another shape every event is, and none of them is to blame.
    """
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in _INVALID and (found := problems()):
            raise ConfigurationError(found[0]) from error
        raise of_code(table, code, error.response.get("Error", {}).get("Message", "")) from error
    except (BotoCoreError, ResponseParserError) as error:
        raise _of_client(table, error) from error


def of_code(table: str, code: str, message: str) -> AuditError:
    """The error for a code of DynamoDB's. Whatever is not known passes by, because waiting loses nothing."""
    if code in THROTTLED:
        return RetryableError(
            f"DynamoDB throttles the table {table!r} ({code}). If it goes on, raise the table's capacity or "
            f"its maximum on-demand throughput."
        )
    if code.startswith(("ResourceNotFound", "TableNotFound")):
        return ConfigurationError(
            f"The table {table!r} or one of its indexes does not exist. Run setup (`audit setup`), or correct "
            f"the region or the option `table`."
        )
    if code.startswith("AccessDenied"):
        return ConfigurationError(
            f"The credentials lack a permission on the table {table!r}: {message.rstrip('.')}. Add it to the policy; the "
            f"documentation of this storage has one to copy."
        )
    if code == "InvalidSignatureException" and ("expired" in message or "not yet current" in message):
        return ConfigurationError(
            f"DynamoDB refuses the request's time: the clock of this machine is wrong. Synchronize it (NTP). "
            f"DynamoDB says: {message}"
        )
    if code in _CREDENTIALS:  # the message may quote the signed request, so it is left out
        return ConfigurationError(f"DynamoDB refuses the credentials ({code}). {_CHAIN}")
    if code in _INVALID or code in REFUSED:
        return PermanentError(f"DynamoDB refuses what was sent to the table {table!r}: {message}")
    return RetryableError(f"DynamoDB could not serve the table {table!r}: {code}: {message}")


def _of_client(table: str, error: Exception) -> AuditError:
    if isinstance(error, _NO_CREDENTIALS):
        return ConfigurationError(f"boto3 finds no usable credentials: {error}. {_CHAIN}")
    if isinstance(error, boto.NoRegionError):
        return ConfigurationError(
            "No AWS region is set: give the option `region`, or set AWS_DEFAULT_REGION."
        )
    if isinstance(error, _MISCONFIGURED):
        return ConfigurationError(f"boto3 is not configured as it should be: {error}. Correct that.")
    if isinstance(error, boto.SSLError):
        return ConfigurationError(
            f"The TLS connection to DynamoDB could not be trusted: {error}. Correct `endpoint_url` or the CA "
            f"bundle (AWS_CA_BUNDLE)."
        )
    if isinstance(error, boto.ParamValidationError):
        return PermanentError(f"boto3 refuses what was to be sent to the table {table!r}: {error}")
    return RetryableError(f"DynamoDB could not be reached for the table {table!r}: {error}")
