"""What our own migrations do to tables that are full (trap 29)."""

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from testapp.models import Tag

from audit_django.models import AuditEvent, OutboxEntry

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

TABLES = [model._meta.db_table for model in (AuditEvent, OutboxEntry)]
FIRST = "0002_search_index"  # the migrations up to it make these tables


def files():
    """Where the database keeps the tables' rows: another place, when it has written them all anew."""
    connection = connections["other"]
    question = {
        "sqlite": "SELECT rootpage FROM sqlite_master WHERE name = %s",
        "postgresql": "SELECT pg_relation_filenode(%s)",
        "mysql": "SELECT table_id FROM information_schema.innodb_sys_tables WHERE name = concat(database(), '/', %s)",
    }[connection.vendor]
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(question, [table])
            [found[table]] = cursor.fetchone()
    return found


def test_no_migration_writes_the_events_anew_29():
    call_command("migrate", "audit_django", FIRST, database="other", verbosity=0)
    try:
        with transaction.atomic(using="other"):
            for number in range(50):
                Tag.objects.using("other").create(name=str(number))
        texts = list(AuditEvent.objects.using("other").order_by("number").values_list("number", "text"))
        assert len(texts) == 50
        before = files()
    finally:
        call_command("migrate", "audit_django", database="other", verbosity=0)
    assert files() == before
    assert list(AuditEvent.objects.using("other").order_by("number").values_list("number", "text")) == texts
