"""``manage.py audit``: what an operator does with the trail.

The sub-commands are those of the command ``audit`` of audit-core, working on Django's settings and databases. Options that every
management command has (``--settings``, ``--verbosity`` …) may stand anywhere.
"""

from __future__ import annotations

from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit_core.cli import NOT_INSTALLED, is_not_installed


class Command(BaseCommand):
    """Hands what is not Django's to the commands of audit-core."""

    help = "Operate the audit trail. `manage.py audit SUBCOMMAND --help` has examples."
    requires_system_checks = ()  # `doctor` shows what they find; a mistake in the settings stops the others by itself

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """A parser that takes Django's own options from wherever they stand, and leaves the rest as it is."""
        parser = super().create_parser(prog_name, subcommand, add_help=False, allow_abbrev=False, **kwargs)
        parser.parse_args = partial(_parse, parser)  # type: ignore[method-assign]
        return parser

    def handle(self, *args: Any, arguments: list[str], **options: Any) -> None:
        try:
            from audit_core.cli.app import make_app
        except ModuleNotFoundError as error:
            if not is_not_installed(error):
                raise
            raise CommandError(NOT_INSTALLED) from error
        from audit_django.installation import DjangoInstallation

        run = make_app("audit")
        out: Any = self.stdout
        err: Any = self.stderr
        with (
            redirect_stdout(out._out),
            redirect_stderr(err._out),
        ):  # Rich asks for the file itself whether it is a terminal
            try:
                run(args=arguments, prog_name="manage.py audit", obj=DjangoInstallation)
            except SystemExit as end:
                if end.code:
                    raise


def _parse(parser: CommandParser, args: Any = None, namespace: Any = None) -> Any:
    options, rest = parser.parse_known_args(args, namespace)
    options.arguments = rest
    return options
