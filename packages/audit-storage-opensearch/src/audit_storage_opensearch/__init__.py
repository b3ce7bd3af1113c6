"""The audit trail in OpenSearch.

The storage is called ``opensearch`` in ``BACKEND``; see :class:`~audit_storage_opensearch.storage.OpenSearchStorage` for
its ``OPTIONS``.
"""

from __future__ import annotations

from audit_core import hookimpl


@hookimpl
def audit_register_storages() -> dict[str, str]:
    # A path and not the class: who only lists the plugins must not wait for the client library.
    return {"opensearch": "audit_storage_opensearch.storage.OpenSearchStorage"}
