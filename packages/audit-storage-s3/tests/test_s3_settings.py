"""Options that cannot work are refused with words, before anything is asked of a server."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from audit_core.backends import build
from audit_core.errors import ConfigurationError
from audit_core.plugins.manager import get_plugin_manager
from audit_storage_s3.settings import Settings
from audit_storage_s3.storage import S3Storage


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bucket": "Audit_Trail"}, "bucket is 'Audit_Trail'; it must be 3 to 63"),
        ({"bucket": None}, "bucket is None"),
        ({"prefix": "a b"}, "prefix is 'a b'"),
        ({"prefix": "x" * 201}, "up to 200"),
        ({"prefix": "a//b"}, "prefix is 'a//b'"),
        ({"prefix": "../b"}, "prefix is '../b'"),
        ({"prefix": "./a"}, "prefix is './a'"),
        ({"format": "csv"}, "format is 'csv'; it must be one of 'jsonl', 'parquet'"),
        ({"compression": "snappy"}, "compression of the format jsonl is 'snappy'"),
        ({"encryption": None}, "encryption is None; it must be one of 'AES256', 'aws:kms'"),
        ({"kms_key_id": "k"}, "kms_key_id needs encryption: 'aws:kms'"),
        ({"object_lock": "COMPLIANCE"}, "belong together"),
        ({"retention_days": 7}, "belong together"),
        ({"object_lock": "compliance", "retention_days": 7}, "one of 'COMPLIANCE', 'GOVERNANCE'"),
        ({"object_lock": "GOVERNANCE", "retention_days": 0}, "retention_days is 0"),
        ({"object_lock": "GOVERNANCE", "retention_days": 1.5}, "retention_days is 1.5"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": True}, "batch_size is True"),
        ({"batch_size": 100_001}, "at most 100000"),
        ({"flush_interval_seconds": -1}, "flush_interval_seconds is -1"),
        ({"endpoint_url": "minio:9000"}, "endpoint_url is 'minio:9000'"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        S3Storage(**{"bucket": "audit", **options})


@pytest.mark.parametrize(("given", "kept"), [("", ""), ("/", ""), ("a", "a/"), ("/a/b/", "a/b/")])
def test_a_prefix_is_a_folder(given: str, kept: str) -> None:
    assert Settings(bucket="audit", prefix=given).prefix == kept


def test_each_format_has_a_compression_of_its_own() -> None:
    assert Settings(bucket="audit").compression == "gzip"
    assert Settings(bucket="audit", format="parquet").compression == "zstd"


def test_what_the_relay_reads() -> None:
    storage = S3Storage("audit", batch_size=5000, flush_interval_seconds=30)
    assert (storage.batch_size, storage.flush_interval_seconds) == (5000, 30)


@pytest.mark.parametrize(
    ("missing", "options", "extra"),
    [
        ("pyarrow", {"format": "parquet"}, "parquet"),
        ("backports", {"compression": "zstd"}, "zstd"),
    ],
)
def test_a_missing_library_says_which_extra(
    monkeypatch: pytest.MonkeyPatch, missing: str, options: dict[str, Any], extra: str
) -> None:
    for name in [missing, "compression", "audit_storage_s3.parquet"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=rf"pip install 'audit-storage-s3\[{extra}\]'"):
        S3Storage("audit", **options)


def test_it_is_found_by_its_name() -> None:
    storage = build("storage", {"BACKEND": "s3", "OPTIONS": {"bucket": "audit", "prefix": "trail"}})
    assert isinstance(storage, S3Storage)
    with pytest.raises(ConfigurationError, match="has no option 'buckett'.*bucket"):
        build("storage", {"BACKEND": "s3", "OPTIONS": {"buckett": "audit"}})


def test_the_plugin_imports_no_sdk() -> None:
    assert "audit-storage-s3" in {plugin.name for plugin in get_plugin_manager().plugins()}
    code = (
        "import sys; from audit_core.plugins.manager import get_plugin_manager; get_plugin_manager().plugins(); "
        "sys.exit(', '.join({'boto3', 'botocore', 'pyarrow'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
