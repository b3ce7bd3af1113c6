"""The contract of :class:`~audit_core.storages.contract.SearchableStorage` as tests: what an EventQuery
means.
"""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any
from uuid import UUID

import pytest

from audit_core.diff import FOREIGN_KEY, Change
from audit_core.event import Actor, Context, RecordedEvent, Target
from audit_core.query import EventQuery
from audit_core.storages.contract import SearchableStorage
from audit_core.testing.events import ALICE, BOB, make_event
from audit_core.testing.pages import NOON, PageTests

HOSTILE_TEXTS = [
    "'", '"', "''", '""', "O'", '"unclosed', "%", "_", "%%%", "\\", "\\'", "*", "a*", "-a", "+", "+a -b",
    "(", ")", "((a", "a)", "&", "a & | b", "!", "!a", "<->", "a <-> b", ":", "a:*", "a:b", "^", "a^2", "~",
    "@", "@1", "AND", "OR", "NOT", "NEAR(a b)", "NOT a", "a AND", "{", "}", "[a", "$where", "{$gt: ''}",
    "/a/", "?", "=", "<script>", "; DROP TABLE", "\x01", "\U0001f98a", "   ", "\t\n", "\x00", "a\x00b",
    "\ud800", "x" * 5000,
]  # fmt: skip


class SearchContract(PageTests):
    """Subclass it and give the fixture ``storage``: an empty searchable storage for each test."""

    def test_it_can_search(self, storage: Any) -> None:
        assert isinstance(storage, SearchableStorage)

    # get

    def test_get_finds_an_event_by_its_id(self, storage: Any) -> None:
        events = self.add(storage, make_event(summary="Alice approved it."), make_event())
        got = storage.get(events[0].id)
        assert (got.id, got.text, got.leaf_hash) == (events[0].id, events[0].text, events[0].leaf_hash)

    def test_get_of_an_unknown_id_is_a_key_error(self, storage: Any) -> None:
        self.add(storage, make_event())
        with pytest.raises(KeyError):
            storage.get(UUID(int=1))

    # order

    def test_an_empty_storage_answers_with_an_empty_page(self, storage: Any) -> None:
        page = storage.search(EventQuery())
        assert (list(page.events), page.next, page.newest) == ([], None, None)

    def test_the_newest_comes_first(self, storage: Any) -> None:
        second, third, first = self.add(
            storage,
            make_event(occurred_at=NOON),
            make_event(occurred_at=NOON + timedelta(microseconds=1)),
            make_event(occurred_at=NOON - timedelta(days=400)),
        )
        assert self.found(storage) == [third.id, second.id, first.id]

    def test_equal_times_are_in_the_order_of_recording(self, storage: Any) -> None:
        events = self.add(storage, *(make_event(occurred_at=NOON) for _ in range(9)))
        assert self.walk(storage, limit=2) == [event.id for event in reversed(events)]

    def test_the_history_of_an_object_is_never_ordered_by_a_clock(self, storage: Any) -> None:
        # The clock of the second writer was an hour slow.
        moments = (NOON, NOON - timedelta(hours=1), NOON + timedelta(seconds=1), NOON)
        events = self.add(storage, *(make_event(occurred_at=moment) for moment in moments))
        self.add(storage, make_event(target="policies.Policy:2", occurred_at=NOON))
        of_the_object: dict[str, Any] = {"target_types": ["policies.Policy"], "target_id": "1"}
        expected = [event.id for event in reversed(events)]
        assert self.found(storage, **of_the_object) == expected
        assert self.walk(storage, limit=1, **of_the_object) == expected

    def test_a_history_is_in_order_of_seq_when_an_event_arrives_late(self, storage: Any) -> None:
        if self.numbers_events:
            pytest.skip("this storage numbers its events itself, so none can arrive late")
        events = [make_event(occurred_at=NOON, seq=seq) for seq in (1, 2, 3)]
        self.keep(storage, [events[0], events[2]])
        self.keep(storage, [events[1]])  # it had been parked
        assert self.found(storage, target_types=["policies.Policy"], target_id="1") == [
            e.id for e in reversed(events)
        ]

    # filters

    @pytest.fixture
    def mixed(self, storage: Any) -> dict[str, RecordedEvent]:
        """Events that differ in every filter."""
        invoice = Target(type="billing.Invoice", id="1", repr="I-2026-1")
        kinds = {
            "approved": make_event(tenant="acme", context=Context(request_id="r-1"), occurred_at=NOON),
            "created": make_event(
                "create",
                diff={"premium": (None, 10)},
                actor=BOB,
                occurred_at=NOON + timedelta(hours=1),
                tenant="acme",
            ),
            "invoice": make_event(
                "delete", target=invoice, diff={}, occurred_at=NOON + timedelta(hours=2), tenant="globex"
            ),
            "login": make_event(
                "login_failed",
                category="auth",
                outcome="failure",
                target=None,
                actor=Actor(id=None, type="anonymous", username="mallory"),
                diff={},
                context=Context(request_id="r-2"),
                occurred_at=NOON + timedelta(hours=3),
            ),
        }
        return dict(zip(kinds, self.add(storage, *kinds.values()), strict=True))

    @pytest.mark.parametrize(
        ("filters", "names"),
        [
            ({}, ["login", "invoice", "created", "approved"]),
            ({"target_types": ["policies.Policy"]}, ["created", "approved"]),
            ({"target_types": ["policies.Policy", "billing.Invoice"]}, ["invoice", "created", "approved"]),
            ({"target_types": ["billing.Invoice"], "target_id": "1"}, ["invoice"]),
            ({"target_types": ["billing.Invoice"], "target_id": "2"}, []),
            ({"actor_id": ALICE.id}, ["invoice", "approved"]),
            ({"actor_id": "nobody"}, []),
            ({"categories": ["auth"]}, ["login"]),
            ({"categories": ["auth", "change"]}, ["login", "invoice", "created", "approved"]),
            ({"actions": ["create", "delete"]}, ["invoice", "created"]),
            ({"outcome": "failure"}, ["login"]),
            ({"outcome": "success"}, ["invoice", "created", "approved"]),
            ({"field": "premium"}, ["created"]),
            ({"field": "prem"}, []),
            ({"request_id": "r-1"}, ["approved"]),
            ({"tenants": ["acme"]}, ["created", "approved"]),
            ({"tenants": ["acme", "globex"]}, ["invoice", "created", "approved"]),
            ({"tenants": []}, []),
            ({"since": NOON + timedelta(hours=1)}, ["login", "invoice", "created"]),
            ({"until": NOON + timedelta(hours=1)}, ["approved"]),
            ({"since": NOON, "until": NOON + timedelta(microseconds=1)}, ["approved"]),
            ({"tenants": ["acme"], "actor_id": BOB.id}, ["created"]),
            ({"tenants": ["globex"], "actor_id": BOB.id}, []),
            ({"actions": ["update"], "field": "status", "target_types": ["policies.Policy"]}, ["approved"]),
            ({"text": "Bob", "actions": ["create"], "since": NOON, "tenants": ["acme"]}, ["created"]),
            ({"text": "Bob", "actions": ["delete"]}, []),
        ],
        ids=lambda value: ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
    )
    def test_filters(
        self, storage: Any, mixed: dict[str, RecordedEvent], filters: dict[str, Any], names: list[str]
    ) -> None:
        expected = [mixed[name].id for name in names]
        assert self.found(storage, **filters) == expected
        assert self.walk(storage, limit=1, **filters) == expected

    def test_a_time_may_be_asked_in_any_zone(self, storage: Any, mixed: dict[str, RecordedEvent]) -> None:
        east = timezone(timedelta(hours=5, minutes=30))
        assert self.found(storage, until=(NOON + timedelta(hours=1)).astimezone(east)) == [
            mixed["approved"].id
        ]

    # text

    @pytest.fixture
    def texts(self, storage: Any) -> list[RecordedEvent]:
        """Events to search words in."""
        owner = Change(
            field="owner",
            relation=FOREIGN_KEY,
            label="Owner",
            before={"pk": 7, "repr": "Carol"},
            after={"pk": 9, "repr": "Dave"},
        )
        note = Change(field="note", before="hello world", after="Zebra crossing", label="Remark")
        return self.add(
            storage,
            make_event(diff={"owner": owner}, summary="Alice handed it over."),
            make_event(
                target=Target(type="p.P", id="3", repr="O'Brien & Söhne"),
                diff={"note": note},
                context=Context(ip="203.0.113.9"),
            ),
        )

    @pytest.mark.parametrize(
        ("text", "matches"),
        [
            ("Carol", [0]),
            ("dave", [0]),
            ("DAVE", [0]),
            ("handed", [0]),
            ("carol dave", [0]),
            ("dave carol", [0]),
            ("  carol   dave ", [0]),
            ("carol zebra", []),
            ("alice", [1, 0]),
            ("zebra", [1]),
            ("world zebra", [1]),
            ("söhne", [1]),
            ("O'Brien", [1]),
            ("remark", [1]),
            ("203.0.113.9", [1]),
            ("zeb", [1]),  # the last word may be the beginning of one, so that typing finds
            ("alice zeb", [1]),
            ("zeb alice", []),
            ("ebra", []),
            ("unicorn", []),
            ("alice unicorn", []),
        ],
    )
    def test_all_words_must_occur(
        self, storage: Any, texts: list[RecordedEvent], text: str, matches: list[int]
    ) -> None:
        assert self.found(storage, text=text) == [texts[n].id for n in matches]

    @pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=ascii)
    def test_no_text_is_an_operator(self, storage: Any, texts: list[RecordedEvent], text: str) -> None:
        ids = {event.id for event in texts}
        assert set(self.found(storage, text=text[:4000])) <= ids
        assert self.found(storage, text=f"unicorn {text[:200]}") == []  # a word that is nowhere
        assert self.found(storage, text=f"{text[:200]} unicorn") == []
        assert self.found(storage, text="zebra") == [texts[1].id]

    @pytest.mark.parametrize(
        ("pattern", "plain"), [("%ebr%", "ebr"), ("_ebra", "ebra"), ("z%a", "z a"), ("ze*a", "ze a")]
    )
    def test_no_character_is_a_wildcard(
        self, storage: Any, texts: list[RecordedEvent], pattern: str, plain: str
    ) -> None:
        # A store that looks for parts of words may find the plain parts; the pattern may find no more than they.
        assert set(self.found(storage, text=pattern)) <= set(self.found(storage, text=plain))

    def test_a_sealed_value_is_not_found_by_its_mask(self, storage: Any) -> None:
        ssn = Change(field="ssn", before=None, after={"sealed": {"mac": "1f2e3d4c:deadbeef"}}, sensitive=True)
        self.add(storage, make_event(diff={"ssn": ssn}))
        assert self.found(storage, text="deadbeef") == []
        assert self.found(storage, text="1f2e3d4c") == []

    def test_a_label_that_is_sealed_or_unknown_has_no_words(self, storage: Any) -> None:
        labels = [{"sealed": {"mac": "1f2e3d4c:deadbeef", "ct": "Y2lwaGVy"}}, None]
        owners = [
            Change(field="owner", relation=FOREIGN_KEY, after={"pk": 7, "repr": label}) for label in labels
        ]
        events = self.add(storage, *(make_event(diff={"owner": owner}) for owner in owners))
        for word in ("deadbeef", "sealed", "mac", "y2lwagvy", "none"):
            assert self.found(storage, text=word) == []
        assert self.found(storage, text="owner") == [event.id for event in reversed(events)]
