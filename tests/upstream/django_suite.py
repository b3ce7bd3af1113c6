"""Django's own tests, plain and with every model audited: ``python -m tests.upstream.django_suite --share``.

They are in the source distribution of the Django that is installed, with ``runtests.py`` to run them.
"""

from __future__ import annotations

import django
from tests.upstream.source import source_of
from tests.upstream.suite import HERE, Suite

NOT_MODULES = {"import_error_package", "test_runner_apps", "gis_tests", "templates"}  # as runtests.py has it


def suite() -> Suite:
    folder = source_of("django", django.__version__) / "tests"
    return Suite(
        name="django",
        version=django.__version__,
        folder=folder,
        runner=("runtests.py", "--settings=upstream_settings", "--parallel=1", "--noinput"),
        labels=sorted(
            path.parent.name for path in folder.glob("*/__init__.py") if path.parent.name not in NOT_MODULES
        ),
        share=(HERE / "django_share.txt").read_text(encoding="utf-8").split(),
    )


if __name__ == "__main__":
    suite().main()
