"""``manage.py audit``: what an operator does with the trail."""

from __future__ import annotations

import sys
from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from audit_core.errors import ConfigurationError
from audit_django.management.audit import check, relay, setup

SUBCOMMANDS = {"relay": relay, "setup": setup, "check": check}


class Command(BaseCommand):
    """Dispatches to the modules of :mod:`audit_django.management.audit`."""

    help = "Operate the audit trail. `manage.py audit SUBCOMMAND --help` has examples."

    def add_arguments(self, parser: CommandParser) -> None:
        subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
        for name, module in SUBCOMMANDS.items():
            subparser = subparsers.add_parser(
                name,
                help=module.HELP,
                description=module.HELP,
                epilog=module.EPILOG,
                formatter_class=RawDescriptionHelpFormatter,
            )
            module.add_arguments(subparser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            code = SUBCOMMANDS[options["subcommand"]].run(self, options)
        except ConfigurationError as error:
            self.stderr.write(str(error))
            code = 2
        if code:
            sys.exit(code)
