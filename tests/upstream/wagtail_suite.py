"""Wagtail's own tests, plain and with every model audited: ``python -m tests.upstream.wagtail_suite --share``.

Its wheel has them. The folders that are called ``test`` hold what they use.
"""

from __future__ import annotations

from pathlib import Path

import wagtail
from tests.upstream.suite import HERE, Suite

SHARE = (
    "wagtail.tests.actions",
    "wagtail.tests.test_audit_log",
    "wagtail.tests.test_collection_model",
    "wagtail.tests.test_page_model",
    "wagtail.tests.test_reference_index",
    "wagtail.tests.test_revision_model",
    "wagtail.tests.test_workflow",
    "wagtail.admin.tests.pages.test_bulk_actions",
    "wagtail.admin.tests.pages.test_copy_page",
    "wagtail.admin.tests.pages.test_create_page",
    "wagtail.admin.tests.pages.test_delete_page",
    "wagtail.admin.tests.pages.test_edit_page",
)
"""The modules that write to the database most."""


def suite() -> Suite:
    root = Path(wagtail.__file__).parent
    modules = (path.relative_to(root.parent).with_suffix("") for path in root.rglob("test*.py"))
    return Suite(
        name="wagtail",
        version=wagtail.__version__,
        folder=HERE,
        runner=("-m", "django", "test", "--settings=upstream_wagtail", "--noinput"),
        labels=sorted(".".join(module.parts) for module in modules if "test" not in module.parts),
        share=SHARE,
    )


if __name__ == "__main__":
    suite().main()
