"""What MongoDB's errors mean to the audit trail.

Codes are those of MongoDB's ``src/mongo/base/error_codes.yml``. What is not known to be a refusal of the event itself
counts as passing: waiting loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from bson.errors import BSONError
from pymongo import errors

from audit_core.errors import AuditError, ConfigurationError, PermanentError, RetryableError

DUPLICATE_KEY = 11000
NAMESPACE_EXISTS = 48
NOT_IMPLEMENTED = 238  # what FerretDB answers for what it lacks

# BadValue, InvalidBSON, DocumentValidationFailure, CannotBuildIndexKeys, NonConformantBSON, BSONObjectTooLarge
REFUSED = frozenset({2, 22, 121, 201, 378, 10334})

_ATLAS = 8000  # AtlasError, for what is wrong with the credentials and for much else
# UserNotFound, AuthenticationFailed, AuthenticationRestrictionUnmet, MechanismUnavailable
_CREDENTIALS = frozenset({11, 18, 214, 334, _ATLAS})
_UNAUTHORIZED = 13
_WRITE_CONCERN = frozenset({79, 100})  # UnknownReplWriteConcern, UnsatisfiableWriteConcern
_INDEX = frozenset({85, 86})  # IndexOptionsConflict, IndexKeySpecsConflict
_NO_ROOM = {
    14031: "Its disk is full. Free or add space; nothing is lost meanwhile.",  # OutOfDiskSpace
    371: "Writes are blocked there (setUserWriteBlockMode). Unblock them.",  # UserWritesBlocked
}


@contextmanager
def explained() -> Iterator[None]:
    """Turn what pymongo raises into an error of the audit trail. No message holds an event or a password."""
    try:
        yield
    except (errors.PyMongoError, BSONError, UnicodeError, OverflowError) as error:
        raise explain(error) from error


def explain(error: Exception) -> AuditError:
    """The error of the audit trail that says what ``error`` of pymongo means."""
    if isinstance(error, errors.OperationFailure):
        return explain_code(error.code, error.details or {"errmsg": str(error)})
    if isinstance(error, errors.ConfigurationError | errors.InvalidName):
        return ConfigurationError(f"MongoDB cannot be used as configured: {error}")
    if isinstance(error, errors.PyMongoError):
        words = _short(str(error))
        if "CERTIFICATE_VERIFY_FAILED" in words:
            return ConfigurationError(
                f"MongoDB's certificate is not trusted: {words}. Name the authority that signed it with tlsCAFile in the uri."
            )
        return RetryableError(f"MongoDB did not answer: {words}. Is it running, and reachable from here?")
    # Not an error of the server: one of the documents has no form in BSON, or is too large for one.
    return PermanentError(f"MongoDB cannot hold this event: {_short(str(error))}.")


def explain_code(code: int | None, reply: Mapping[str, Any]) -> AuditError:
    """The same for an error that the server itself has answered with."""
    said = f"{' '.join(str(reply.get('errmsg', 'no reason given')).split())} (code {code})"
    if code == _ATLAS and "auth" not in said:  # over its quota, or not available in this tier
        return RetryableError(
            f"Atlas could not do it: {said}. Change what it names; nothing is lost meanwhile."
        )
    if code in _CREDENTIALS:
        return ConfigurationError(
            f"MongoDB refused the credentials: {said}. Correct user, password and authSource in the uri."
        )
    if code == _UNAUTHORIZED:
        return ConfigurationError(
            f"MongoDB does not permit it: {said}. Give the user the role that the documentation of audit-storage-mongodb "
            f"lists."
        )
    if code in _WRITE_CONCERN:
        return ConfigurationError(
            f"MongoDB has too few members for the write concern: {said}. Set w in the uri to what this replica set can confirm."
        )
    if code in _INDEX:
        return ConfigurationError(
            f"An index that is there is in the way of one of the storage's: {said}. Drop the index that it names, and run "
            f"`audit setup`."
        )
    backoff_ms = reply.get("baseBackoffMS")  # of a server that is overloaded
    return RetryableError(
        f"MongoDB could not do it now: {said}. {_NO_ROOM.get(code or 0, '')}".rstrip(),
        retry_after_seconds=None if backoff_ms is None else backoff_ms / 1000,
    )


def _short(words: str) -> str:
    # pymongo goes on with its time limits and with a description of every server.
    for noise in (" (configured timeouts", ", Timeout:", ", full error:"):
        words = words.partition(noise)[0]
    return words.strip().rstrip(".")
