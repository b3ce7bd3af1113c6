"""What S3 answers, as errors that say what to do."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSLError,
    TokenRetrievalError,
)
from botocore.exceptions import (
    ConnectionError as ConnectionFailed,
)
from botocore.parsers import ResponseParserError

from audit_core.errors import AuditError, ConfigurationError, PermanentError, RetryableError
from audit_storage_s3.settings import Settings

CREDENTIALS = frozenset(
    "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken ExpiredToken TokenRefreshRequired InvalidSecurity "
    "InvalidClientTokenId".split()
)
MAX_SKEW_SECONDS = 15 * 60  # S3 refuses a request that was signed longer ago, or later, than this
CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
REGION = frozenset(
    "PermanentRedirect TemporaryRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException 301".split()
)
DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "403"})
MISSING = frozenset({"NoSuchKey", "NotFound", "404"})
FULL = frozenset({"XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"})
BUSY = frozenset(
    "SlowDown SlowDownRead SlowDownWrite ServiceUnavailable InternalError RequestTimeout "
    "RequestLimitExceeded TooManyRequests BandwidthLimitExceeded OperationAborted ConditionalRequestConflict "
    "BadDigest IncompleteBody XAmzContentSHA256Mismatch XMinioServerNotInitialized".split()
)
LOCKED = frozenset({"AccessDenied", "InvalidRequest", "ObjectLocked", "WORMProtected"})
"""How the deletion of a locked version is refused: AccessDenied by AWS, InvalidRequest by MinIO."""

_KMS = re.compile(r"\bkms:|\bKMS\b")  # in AWS's code or message, and in MinIO's
_LOCK = re.compile(r"Object ?Lock")

PERMISSIONS = {
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "GetObject": "s3:GetObject (and kms:Decrypt)",
    "HeadObject": "s3:GetObject (and kms:Decrypt)",
    "PutObject": "s3:PutObject (and with a lock s3:PutObjectRetention, with KMS kms:GenerateDataKey)",
    "DeleteObjects": "s3:DeleteObject, or for a version s3:DeleteObjectVersion",
    "CreateBucket": "s3:CreateBucket",
    "GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
}


class DamagedObject(AuditError):
    """An object in the bucket is not what was written."""

    REMEDY = (
        "Somebody changed it, or it is damaged: take an older version of the object, or write its day again from the log "
        "into another prefix."
    )


def code_of(error: ClientError) -> str:
    """S3's own name for what happened."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """The HTTP status; 0 when there was none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def explained(settings: Settings) -> Generator[None]:
    """Turn what botocore raises inside into our errors."""
    try:
        yield
    except ClientError as error:
        raise from_answer(error, settings) from error
    except (BotoCoreError, OSError, ValueError) as error:  # ValueError: an address that is none
        raise from_client(error, settings) from error
    except (ResponseParserError, KeyError) as error:
        raise RetryableError(
            f"What answers at {settings.endpoint_url or 'S3'} is not S3, but perhaps a proxy before it ({type(error).__name__})."
        ) from error


def from_answer(error: ClientError, settings: Settings) -> AuditError:
    """What S3 answered. Keys, tokens and signatures are in no answer that is quoted here."""
    code, status, operation = code_of(error), status_of(error), error.operation_name
    words = f"S3 answered {code or status} to {operation} on the bucket {settings.bucket!r}"
    if code == "NoSuchBucket":
        return ConfigurationError(
            f"The bucket {settings.bucket!r} does not exist. Create it with setup() (`audit setup`), or correct the option "
            f"`bucket`."
        )
    if code in CLOCK or (status == 403 and abs(clock_ahead_seconds(headers_of(error))) > MAX_SKEW_SECONDS):
        return ConfigurationError(
            f"{words}: this machine's clock is more than 15 minutes away from S3's. Set it by NTP; nothing is lost."
        )
    if code == "NotImplemented" or status == 501:
        return ConfigurationError(
            f"{words}: this store lacks something that is needed. {_message(error)}".rstrip()
        )
    if code in REGION or status == 301:
        return ConfigurationError(f"{words}: the bucket is in {_region(error)}. Correct the option `region`.")
    if code in CREDENTIALS:
        return ConfigurationError(
            f"{words}: the credentials are wrong or have expired. Correct those that boto3 finds (environment, profile, role)."
        )
    if "Throttling" in code:  # KMS's too, with the status 400
        return RetryableError(f"{words}. It is tried again.", retry_after_seconds=_retry_after(error))
    if _KMS.search(f"{code} {_message(error)}"):
        return ConfigurationError(
            f"{words}: the KMS key was refused. See that it is enabled, in the bucket's region, and that its policy allows "
            f"kms:GenerateDataKey and kms:Decrypt."
        )
    if code in FULL or status == 507:
        return RetryableError(f"{words}: the store is full. Make room; the events wait.")
    if code in BUSY or status >= 500 or status == 429:
        return RetryableError(f"{words}. It is tried again.", retry_after_seconds=_retry_after(error))
    if _LOCK.search(_message(error)):
        return ConfigurationError(
            f"{words}: the bucket was made without Object Lock. Switch it on (it needs versioning), or take away object_lock."
        )
    if code == "InvalidObjectState":
        return ConfigurationError(
            f"{words}: a lifecycle rule moved the object to an archive class. Restore it there (RestoreObject), and let the rule "
            f"leave recent days alone."
        )
    if code in DENIED or status == 403:
        permission = PERMISSIONS.get(operation, f"s3:{operation}")
        return ConfigurationError(
            f"{words}: it is not permitted, or the store is read-only. Allow {permission} to the credentials in use."
        )
    if code == "EntityTooLarge":
        return PermanentError(f"{words}: the object is larger than the store takes.")
    return ConfigurationError(f"{words}: {_message(error) or 'no reason given'}")


def from_client(error: Exception, settings: Settings) -> AuditError:
    """What went wrong before there was an answer."""
    name = type(error).__name__
    if isinstance(error, NoCredentialsError | PartialCredentialsError | ProfileNotFound):
        return ConfigurationError(
            f"boto3 finds no credentials for the bucket {settings.bucket!r} ({name}). Give them by role, profile or environment."
        )
    if isinstance(error, CredentialRetrievalError | TokenRetrievalError | MetadataRetrievalError):
        return RetryableError(
            f"The credentials for the bucket {settings.bucket!r} could not be fetched ({name})."
        )
    where = settings.endpoint_url or "S3"
    if isinstance(error, SSLError) and "certificate" in str(error).lower():
        return ConfigurationError(
            f"TLS to {where} failed: its certificate is not trusted. Set AWS_CA_BUNDLE, or correct endpoint_url."
        )
    if isinstance(error, ConnectionFailed | HTTPClientError | OSError):
        return RetryableError(f"{where} does not answer ({name}). It is tried again.")
    if isinstance(error, IncompleteReadError | ChecksumError | FlexibleChecksumError):
        return RetryableError(f"An answer of {where} was damaged on its way ({name}). It is tried again.")
    return ConfigurationError(f"A request to {where} could not be made: {error}")


def _message(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Message", ""))


def headers_of(error: ClientError) -> Mapping[str, str]:
    """The headers of the answer."""
    headers: Mapping[str, str] = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return headers


def clock_ahead_seconds(headers: Mapping[str, str]) -> float:
    """How far this machine's clock is ahead of the server's, from the ``Date`` of an answer; 0 when it has none."""
    try:
        server = parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return 0.0
    return (datetime.now(UTC) - server).total_seconds()


def _region(error: ClientError) -> str:
    region = headers_of(error).get("x-amz-bucket-region") or error.response.get("Error", {}).get("Region")
    return f"the region {region}" if region else "another region"


def _retry_after(error: ClientError) -> float | None:
    value = str(headers_of(error).get("retry-after", ""))
    return float(value) if value.isdigit() else None
