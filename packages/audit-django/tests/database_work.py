"""What a call asks of the database: its statements, the tables they scan, and how much they visit."""

import json
import re
from collections import Counter
from contextlib import closing
from itertools import pairwise

from django.db import connection
from django.test.utils import CaptureQueriesContext

from audit_django.models import AuditEvent, LogEntry, OutboxEntry, Summary

TABLES = [model._meta.db_table for model in (AuditEvent, LogEntry, OutboxEntry, Summary)]
NAMES = {*TABLES, "l", "e", "s"}  # and as the statement that reads the log calls them


_FIRST_WORDS = re.compile(r"(?:^\s*|; )([A-Z]+)\b")


def statements(call):
    """The first word of each statement, those that begin and end a transaction included.

    Django notes a BEGIN and a COMMIT of its own, even where they were sent with another statement: they are told once.
    """
    with CaptureQueriesContext(connection) as queries:
        call()
    words = [word for query in queries for word in _FIRST_WORDS.findall(query["sql"])]
    return [
        word for last, word in pairwise([None, *words]) if last != word or word not in ("BEGIN", "COMMIT")
    ]


def scans(call):
    """What reads a table of the trail from end to end in the plans of these statements."""
    found = []
    for plan in _explained(call, _EXPLAIN[connection.vendor]):
        if connection.vendor == "sqlite":
            steps = [detail.split() for *_, detail in plan]
            found += [" ".join(step[:2]) for step in steps if step[0] == "SCAN" and step[1] in NAMES]
            continue
        [[tree]] = plan
        for node in _nodes(json.loads(tree) if isinstance(tree, str) else tree):
            if node.get("Node Type") == "Seq Scan" and node["Relation Name"] in TABLES:
                found.append(f"Seq Scan on {node['Relation Name']}")
            elif node.get("access_type") == "ALL" and node["table_name"] in NAMES:
                found.append(f"ALL of {node['table_name']}")
    return found


def visited(call):
    """How much the database looked at, by kind.

    SQLite: instructions of its virtual machine. MariaDB: rows. PostgreSQL: rows, those that a filter removed included, and
    buffers, as often as each was looked at.
    """
    if connection.vendor == "sqlite":
        return _instructions(call)
    if connection.vendor == "mysql":
        return _rows_read(call)
    found = Counter()
    for [[[root]]] in _explained(call, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"):
        found["buffers"] += root["Plan"]["Shared Hit Blocks"] + root["Plan"]["Shared Read Blocks"]
        for node in _nodes(root):
            if node.get("Relation Name") in TABLES and "Actual Loops" in node:
                removed = sum(count for key, count in node.items() if key.startswith("Rows Removed by"))
                found["rows"] += (node["Actual Rows"] + removed) * node["Actual Loops"]
    return found


_EXPLAIN = {
    "sqlite": "EXPLAIN QUERY PLAN",
    "postgresql": "EXPLAIN (FORMAT JSON)",
    "mysql": "EXPLAIN FORMAT=JSON",
}


def _explained(call, explain):
    """What ``explain`` tells of each statement just before it runs. What EXPLAIN ANALYZE changes is undone."""
    found = []

    def wrapper(execute, sql, params, many, context):
        if sql.split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
            undo, inside = "ANALYZE" in explain, connection.in_atomic_block
            with closing(connection.create_cursor()) as cursor:
                if undo:
                    cursor.execute("SAVEPOINT before_explain" if inside else "BEGIN")
                cursor.execute(f"{explain} {sql}", params)
                found.append(cursor.fetchall())
                if undo:
                    cursor.execute("ROLLBACK TO SAVEPOINT before_explain" if inside else "ROLLBACK")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        call()
    assert found
    return found


def _nodes(tree):
    """Every object of a plan in JSON."""
    if isinstance(tree, dict):
        yield tree
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            yield from _nodes(branch)


def _instructions(call):
    count = 0

    def step():
        nonlocal count
        count += 1

    connection.connection.set_progress_handler(step, 1)
    try:
        call()
    finally:
        connection.connection.set_progress_handler(None, 1)
    return Counter(instructions=count)


def _rows_read(call):
    def reads():
        with connection.cursor() as cursor:
            cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%'")
            return sum(int(count) for _, count in cursor.fetchall())

    reads()  # SHOW counts its own reads, which show in the next
    idle = reads()
    before = reads()
    call()
    return Counter(rows=reads() - before - (before - idle))
