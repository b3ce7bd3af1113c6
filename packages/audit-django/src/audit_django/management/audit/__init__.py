"""The sub-commands of ``manage.py audit``, one module each: ``add_arguments(parser)`` and ``run(command, options)``."""
