"""The options of the storage, checked once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from audit_core.errors import ConfigurationError

COMPRESSIONS = {"jsonl": ("gzip", "zstd"), "parquet": ("zstd", "snappy", "gzip")}
"""What each format can be compressed with; the first is the default."""

ENCRYPTIONS = ("AES256", "aws:kms")
LOCK_MODES = ("COMPLIANCE", "GOVERNANCE")
MAX_PREFIX_CHARACTERS = 200  # a key has 1,024 bytes, of which tenant, date and name take up to 350
MAX_BATCH_SIZE = 100_000  # a batch is held in memory, at about 5 kB an event
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(
    r"[A-Za-z0-9!_.*'()/=-]*"
)  # needs no escaping anywhere (S3 user guide, "Object key naming")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What :class:`~audit_storage_s3.storage.S3Storage` was given; raises
    :class:`~audit_core.errors.ConfigurationError` for what cannot work.
    """

    bucket: str
    prefix: str = ""
    region: str | None = None
    endpoint_url: str | None = None
    format: str = "jsonl"
    compression: str = ""
    encryption: str = "AES256"
    kms_key_id: str | None = None
    object_lock: str | None = None
    retention_days: int | None = None
    batch_size: int = 10_000
    flush_interval_seconds: float = 60.0

    def __post_init__(self) -> None:
        if not isinstance(self.bucket, str) or not _BUCKET.fullmatch(self.bucket):
            raise _wrong("bucket", self.bucket, "3 to 63 lower-case letters, digits, dots and hyphens")
        object.__setattr__(self, "prefix", _folder(self.prefix))
        if self.endpoint_url is not None and not str(self.endpoint_url).startswith(("http://", "https://")):
            raise _wrong("endpoint_url", self.endpoint_url, "an address such as 'https://minio.example.com'")
        _one_of("format", self.format, tuple(COMPRESSIONS))
        if not self.compression:
            object.__setattr__(self, "compression", COMPRESSIONS[self.format][0])
        _one_of(f"compression of the format {self.format}", self.compression, COMPRESSIONS[self.format])
        _one_of("encryption", self.encryption, ENCRYPTIONS)
        if self.kms_key_id is not None and self.encryption != "aws:kms":
            raise ConfigurationError("kms_key_id needs encryption: 'aws:kms'.")
        self._check_lock()
        _number("batch_size", self.batch_size, int, MAX_BATCH_SIZE)
        _number("flush_interval_seconds", self.flush_interval_seconds, (int, float), 3600)

    def _check_lock(self) -> None:
        if (self.object_lock is None) != (self.retention_days is None):
            raise ConfigurationError(
                "object_lock and retention_days belong together: give both, such as 'COMPLIANCE' and 2555, "
                "or neither."
            )
        if self.object_lock is not None:
            _one_of("object_lock", self.object_lock, LOCK_MODES)
            _number("retention_days", self.retention_days, int, 36_500)  # the most that S3 takes


def _folder(prefix: Any) -> str:
    folder = prefix.strip("/") if isinstance(prefix, str) else ""
    if (
        not isinstance(prefix, str)
        or len(prefix) > MAX_PREFIX_CHARACTERS
        or not _PREFIX.fullmatch(prefix)
        or (folder and not {"", ".", ".."}.isdisjoint(folder.split("/")))
    ):
        raise _wrong(
            "prefix", prefix, f"up to {MAX_PREFIX_CHARACTERS} letters, digits and !_.*'()/=- such as 'audit/'"
        )
    return f"{folder}/" if folder else ""


def _one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise _wrong(name, value, "one of " + ", ".join(repr(choice) for choice in choices))


def _number(name: str, value: Any, kinds: Any, most: int) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool) or not 0 < value <= most:
        raise _wrong(name, value, f"a number above 0, at most {most}")


def _wrong(name: str, value: Any, rule: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is {value!r}; it must be {rule}.")
