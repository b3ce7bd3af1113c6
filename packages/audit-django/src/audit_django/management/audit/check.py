"""``manage.py audit check``: can the backends be used?"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from audit_core import backends as core_backends
from audit_django import backends

HELP = "Ask every configured backend whether it is reachable, permitted and sane."
EPILOG = """\
examples:
  manage.py audit check   exit code 1 when there is a problem

The settings themselves are checked by `manage.py check`.
"""


def add_arguments(parser: ArgumentParser) -> None:
    """No option."""


def run(command: BaseCommand, options: dict[str, Any]) -> int:
    """Check every backend; the exit code."""
    bad = False
    for place, backend in backends.configured().items():
        problems = core_backends.check(backend)
        bad = bad or bool(problems)
        for problem in problems or ["well"]:
            command.stdout.write(f"{place}: {problem}")
    return 1 if bad else 0
