"""Capture: sees every write, knows the values before and after, and hands events over to the transaction they belong to.

- :mod:`.pending`: the events of one transaction until they are written, savepoints included;
- :mod:`.transactions`: Django's own transaction machinery, to which that is tied;
- :mod:`.before`: what the database held; :mod:`.loaded`: what an instance was loaded with;
- :mod:`.save`, :mod:`.update`, :mod:`.bulk_create`, :mod:`.delete`, :mod:`.m2m`: the ways of writing; :mod:`.auth`: logins;
- :mod:`.guard`: what happens when an event cannot be made or written.
"""


def install() -> None:
    """Tie the capture to Django. Called once the models are loaded; calling it again changes nothing."""
    from django.apps import apps

    from audit_django.capture import bulk_create, delete, loaded, m2m, save, transactions, update
    from audit_django.context import commands
    from audit_django.relay import inline

    transactions.install()
    save.install()
    loaded.install()
    update.install()
    bulk_create.install()
    delete.install()
    m2m.install()
    commands.install()
    inline.install()
    if apps.is_installed("django.contrib.auth"):
        from audit_django.capture import auth

        auth.install()
