"""Masks, ciphertext, keys, and what an attacker can do with each."""

from __future__ import annotations

import base64
import copy
import hmac
import json
import pickle
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit_core.codec import canonical, plain
from audit_core.diff import Change
from audit_core.errors import AuditError, ConfigurationError
from audit_core.event import Event, RecordedEvent
from audit_core.ids import uuid7
from audit_core.plugins.manager import PluginManager
from audit_core.plugins.markers import hookimpl
from audit_core.privacy import Secret, cipher, is_sealed
from audit_core.privacy.errors import KeyDestroyed, KeyMissing, NothingKept, SealError, Tampered, WrongKey
from audit_core.privacy.keyring import MemoryKeyring, export
from audit_core.privacy.keys import DataKey, Scope, Secrets
from audit_core.privacy.masks import mask
from audit_core.privacy.sealing import key_id_of, mask_of, seal_event, unseal
from audit_core.recorder import Recorder
from audit_core.testing import make_event

OLD, NEW, OTHER = "o" * 32, "n" * 32, "x" * 32
SSN = "078-05-1120"
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
json_values = st.recursive(
    st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(min_size=1, max_size=200).map(plain),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5).map(plain), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture
def keyring() -> MemoryKeyring:
    return MemoryKeyring(Secrets([OLD]))


def ssn(before: Any = None, after: Any = None, name: str = "ssn") -> Change:
    before, after = (None if value is None else Secret(value) for value in (before, after))
    return Change(field=name, before=before, after=after, sensitive=True)


def sealed_event(keyring: MemoryKeyring | None, *changes: Change, tenant: str | None = None) -> Event:
    event = replace(make_event(tenant=tenant).event, diff={change.field: change for change in changes})
    return seal_event(event, lambda e: keyring and keyring.for_scope(Scope(e.tenant)))


def with_value(event: Event, value: Any, field: str = "ssn", side: str = "after") -> Event:
    """``event``, with ``value`` put where somebody who can write to the table may put it."""
    return replace(event, diff={**event.diff, field: event.diff[field]._replace(**{side: value})})


class TestSecret:
    def test_it_shows_itself_to_nobody(self):
        secret = Secret(SSN)
        change = ssn(SSN, SSN)
        for text in (
            repr(secret),
            str(secret),
            f"{secret}",
            repr(change),
            repr([secret]),
            repr({"a": secret}),
        ):
            assert SSN not in text
        assert not hasattr(secret, "__dict__")

    @pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_it_is_not_copied(self, take):
        with pytest.raises(TypeError, match="seal it"):
            take(Secret(SSN))

    def test_whoever_takes_it_for_a_value_has_an_empty_seal(self):
        assert plain({"a": Secret(SSN)}) == {"a": {"sealed": {}}}
        assert canonical(Secret(SSN)) == '{"sealed":{}}'
        assert is_sealed(Secret(SSN))

    def test_two_are_not_the_same(self):
        assert Secret("1") != Secret("2")
        assert len({Secret("1"), Secret("1")}) == 2

    def test_one_that_passes_the_recorder_by_is_not_kept(self):
        event = replace(make_event().event, diff={"ssn": ssn(SSN, "1")})
        assert RecordedEvent.of(event).text.count('{"sealed":{}}') == 2


class TestSealing:
    @SLOW
    @given(json_values)
    def test_what_is_sealed_is_opened(self, value):
        keyring = MemoryKeyring(Secrets([OLD]))
        event = sealed_event(keyring, ssn(value, value))
        text = RecordedEvent.of(event).text
        read = RecordedEvent(event.id, text, b"").event
        for side in ("before", "after"):
            assert is_sealed(getattr(read.diff["ssn"], side))
            assert canonical(unseal(read, "ssn", side, keyring)) == canonical(value)

    def test_neither_value_nor_length_is_told(self, keyring):
        short, long = (sealed_event(keyring, ssn(None, value)) for value in ("M", "a" * 60))
        assert "a" * 20 not in RecordedEvent.of(long).text
        assert len({len(canonical(event.diff["ssn"].after)) for event in (short, long)}) == 1

    def test_equal_values_have_equal_masks_and_different_ciphertexts(self, keyring):
        event = sealed_event(keyring, ssn(SSN, SSN))
        before, after = event.diff["ssn"].before["sealed"], event.diff["ssn"].after["sealed"]
        assert before["mac"] == after["mac"]
        assert before["ct"] != after["ct"]
        assert mask_of(event.diff["ssn"].before) == mask(SSN, keyring.for_scope(Scope()))
        assert key_id_of(event.diff["ssn"].before) == keyring.wrapped()[0].id

    def test_labels_are_sealed_where_they_are_secrets(self, keyring):
        label = {"pk": 7, "repr": Secret("Jane Doe")}
        tags = Change(field="tags", relation="many_to_many", added=[label], removed=[label])
        event = sealed_event(
            keyring, Change(field="owner", before=label, after={"pk": 8, "repr": "Bob"}), tags
        )
        assert "Jane" not in RecordedEvent.of(event).text
        assert unseal(event, "owner", "before", keyring) == {"pk": 7, "repr": "Jane Doe"}
        assert unseal(event, "owner", "after", keyring) == {"pk": 8, "repr": "Bob"}
        assert is_sealed(event.diff["tags"].added[0]["repr"])
        assert is_sealed(event.diff["tags"].removed[0]["repr"])

    def test_without_keys_nothing_is_kept(self, keyring):
        event = sealed_event(None, ssn(None, SSN))
        assert event.diff["ssn"].after == {"sealed": {}}
        with pytest.raises(NothingKept, match="SENSITIVE_KEYS was empty"):
            unseal(event, "ssn", "after", keyring)

    def test_what_is_not_sealed_is_given_as_it_is(self, keyring):
        event = sealed_event(keyring, ssn(None, SSN))
        assert unseal(event, "ssn", "before", keyring) is None
        with pytest.raises(ValueError, match="no 'later'"):
            unseal(event, "ssn", "later", keyring)

    def test_no_key_is_asked_for_where_there_is_no_secret(self):
        event = make_event().event
        assert seal_event(event, lambda event: pytest.fail("asked")) is event


def reference_mask(secret: bytes, kind: str, text: str) -> str:
    """After the table of formats in the documentation."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    key = hmac.digest(extracted, b"audit mask key v1\x01", "sha256")
    return hmac.digest(key, f"audit mask v1\0{kind}\0{text}".encode(), "sha256").hex()


class TestMasks:
    KEY = DataKey(UUID(int=1), Scope(), cipher.KeyBytes(b"k" * 32))

    @pytest.mark.parametrize(("one", "other"), [(1, "1"), (True, 1), (True, "true"), ([], {}), ("[]", [])])
    def test_types_are_kept_apart(self, one, other):
        assert mask(one, self.KEY) != mask(other, self.KEY)

    def test_types_that_json_does_not_know_are_the_texts_that_they_are_recorded_as(self):
        values = [1, "1", True, Decimal("1.0"), Decimal(1), [1], None, "null"]
        masks = [mask(plain(value), self.KEY) for value in values]
        assert masks[1] == masks[4]
        assert len({*masks}) == len(values) - 1
        assert mask(plain(1.0), self.KEY) == masks[0]  # JSON has one kind of number

    @pytest.mark.parametrize(("one", "other"), [({"a": 1, "b": 2}, {"b": 2, "a": 1}), ("é", "\u00e9")])
    def test_one_value_has_one_form(self, one, other):
        assert mask(one, self.KEY) == mask(other, self.KEY)

    def test_the_mask_does_not_change(self):
        """Stored masks are compared with new ones for ever. From Python's hmac and a HKDF written by hand."""
        assert mask(SSN, self.KEY) == reference_mask(bytes(self.KEY.secret), "string", f'"{SSN}"')

    def test_another_key_makes_another_mask(self):
        assert mask(SSN, self.KEY) != mask(SSN, DataKey(UUID(int=1), Scope(), cipher.KeyBytes(b"o" * 32)))

    def test_a_mask_is_as_long_for_a_short_value(self):
        assert len(mask("M", self.KEY)) == len(mask("M" * 1000, self.KEY)) == 64


class TestTampering:
    @SLOW
    @given(st.data())
    def test_any_byte(self, data):
        keyring = MemoryKeyring(Secrets([OLD]))
        event = sealed_event(keyring, ssn(None, SSN))
        sealed = event.diff["ssn"].after["sealed"]
        name = data.draw(st.sampled_from(["key", "mac", "ct"]))
        position = data.draw(st.integers(0, len(sealed[name]) - 1))
        character = data.draw(st.sampled_from("0123456789abcdefABCDEFxyz+/=-"))
        changed = sealed[name][:position] + character + sealed[name][position + 1 :]
        if changed != sealed[name]:
            with pytest.raises(SealError):
                unseal(with_value(event, {"sealed": {**sealed, name: changed}}), "ssn", "after", keyring)

    @pytest.mark.parametrize("cut", [1, 40, 70, 90])
    def test_a_ciphertext_that_is_cut_short(self, keyring, cut):
        event = sealed_event(keyring, ssn(None, SSN))
        sealed = event.diff["ssn"].after["sealed"]
        short = base64.b64encode(base64.b64decode(sealed["ct"])[:cut]).decode()
        with pytest.raises(Tampered):
            unseal(with_value(event, {"sealed": {**sealed, "ct": short}}), "ssn", "after", keyring)

    @pytest.mark.parametrize(
        "sealed", [{"ct": "AAAA"}, {"v": 1, "ct": "AAAA"}, {"v": 1, "ct": 7, "key": "k"}]
    )
    def test_what_was_never_sealed(self, keyring, sealed):
        event = with_value(sealed_event(keyring, ssn(None, SSN)), {"sealed": sealed})
        with pytest.raises(Tampered):
            unseal(event, "ssn", "after", keyring)

    def test_a_value_of_another_event(self, keyring):
        one, other = (sealed_event(keyring, ssn(None, SSN)) for _ in range(2))
        with pytest.raises(Tampered, match="another event, field, side or key"):
            unseal(with_value(other, one.diff["ssn"].after), "ssn", "after", keyring)

    def test_a_value_of_another_field_or_side(self, keyring):
        event = sealed_event(keyring, ssn("1", "2"), ssn("3", "4", name="iban"))
        for value in (event.diff["ssn"].before, event.diff["iban"].after):
            with pytest.raises(Tampered, match="another event, field, side or key"):
                unseal(with_value(event, value), "ssn", "after", keyring)

    def test_the_id_of_another_key(self, keyring):
        event = sealed_event(keyring, ssn(None, SSN))
        other = keyring.for_scope(Scope("other"))
        value = {"sealed": {**event.diff["ssn"].after["sealed"], "key": str(other.id)}}
        with pytest.raises(WrongKey, match="another key"):
            unseal(with_value(event, value), "ssn", "after", keyring)

    def test_a_ciphertext_that_would_decrypt_under_another_key_is_refused(self):
        """Without the commitment AES-GCM would take it: the key and the tag fit."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        salt, mine = b"s" * 32, b"m" * 32
        key, _ = cipher._keys(mine, salt)
        _, commitment_of_another = cipher._keys(b"y" * 32, salt)
        fitting = AESGCM(key).encrypt(bytes(12), b"text", b"place")
        forged = b"\x01" + salt + commitment_of_another + fitting
        with pytest.raises(WrongKey):
            cipher.decrypt(mine, forged, bound_to=b"place")
        honest = b"\x01" + salt + cipher._keys(mine, salt)[1] + fitting
        assert cipher.decrypt(mine, honest, bound_to=b"place") == b"text"

    def test_the_published_vectors_of_hkdf(self):
        """RFC 5869, appendix A.1."""
        made = cipher.derive(b"\x0b" * 22, bytes(range(0xF0, 0xFA)), salt=bytes(range(13)), length=42)
        assert made.hex() == (
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        )


class TestKeys:
    def test_a_short_secret_is_refused(self):
        with pytest.raises(ConfigurationError, match="token_urlsafe"):
            Secrets(["short"])

    def test_no_text_shows_a_key(self, keyring):
        key = keyring.for_scope(Scope("acme"))
        for shown in (key, key.secret, f"{key.mask_key}", keyring.wrapped(), Secrets([OLD]).__dict__):
            for secret in (str(bytes(key.secret))[2:-1], OLD, str(keyring.wrapped()[0].wrapped)[2:-1]):
                assert secret not in repr(shown)

    def test_the_id_of_a_secret_does_not_change(self):
        assert Secrets([OLD, NEW]).ids == ["001c8180", "1378a57c"]

    def test_one_key_a_scope(self, keyring):
        acme, jane = keyring.for_scope(Scope("acme")), keyring.for_scope(Scope("acme", "crm.Customer:1"))
        assert keyring.for_scope(Scope("acme")).id == acme.id != jane.id

    def test_rotation_changes_neither_masks_nor_events(self, keyring):
        event = sealed_event(keyring, ssn(None, SSN))
        both = Secrets([NEW, OLD])
        rewrapped = MemoryKeyring(Secrets([NEW]), [both.rewrap(key) for key in keyring.wrapped()])
        assert unseal(event, "ssn", "after", rewrapped) == SSN
        assert mask(SSN, rewrapped.for_scope(Scope())) == mask_of(event.diff["ssn"].after)

    def test_the_secret_that_is_not_there_is_named(self, keyring):
        event = sealed_event(keyring, ssn(None, SSN))
        [old] = Secrets([OLD]).ids
        with pytest.raises(KeyMissing, match=f"wrapped with the secret {old}.*rotate-keys"):
            unseal(event, "ssn", "after", MemoryKeyring(Secrets([NEW]), keyring.wrapped()))

    def test_a_key_that_is_not_in_the_keyring(self, keyring):
        event = sealed_event(keyring, ssn(None, SSN))
        with pytest.raises(KeyMissing, match=r"no data key .*keys export"):
            unseal(event, "ssn", "after", MemoryKeyring(Secrets([OLD])))

    def test_a_destroyed_key(self, keyring):
        event = sealed_event(keyring, ssn(None, SSN))
        keyring.destroy(key_id_of(event.diff["ssn"].after))
        with pytest.raises(KeyDestroyed, match="cannot be read any more"):
            unseal(event, "ssn", "after", keyring)
        again = sealed_event(keyring, ssn(None, SSN))
        assert unseal(again, "ssn", "after", keyring) == SSN
        assert mask_of(again.diff["ssn"].after) != mask_of(event.diff["ssn"].after)

    @pytest.mark.parametrize(
        "change", [{"id": uuid7()}, {"scope": Scope("acme", "someone.Else:1")}, {"wrapped": b"\x01" * 97}]
    )
    def test_a_row_of_the_table_that_was_changed(self, keyring, change):
        keyring.for_scope(Scope("acme"))
        [wrapped] = keyring.wrapped()
        with pytest.raises(SealError, match="is not as it was stored"):
            Secrets([OLD]).unwrap(replace(wrapped, **change))

    @pytest.mark.parametrize("error", [NothingKept, KeyMissing, KeyDestroyed, WrongKey, Tampered])
    def test_each_mistake_has_its_class(self, error):
        assert issubclass(error, SealError)
        assert issubclass(error, AuditError)


class TestExport:
    def test_a_service_outside_opens_values_with_it(self, keyring):
        event = sealed_event(keyring, ssn(None, SSN), tenant="acme")
        gone = keyring.for_scope(Scope("gone"))
        keyring.destroy(gone.id)
        text = export(keyring.wrapped())
        assert base64.b64encode(keyring.for_scope(Scope("acme")).secret).decode() not in text
        outside = MemoryKeyring.load(text, Secrets([OLD]))
        assert unseal(event, "ssn", "after", outside) == SSN
        with pytest.raises(KeyDestroyed):
            outside.get(gone.id)
        with pytest.raises(KeyMissing):
            unseal(event, "ssn", "after", MemoryKeyring.load(text, Secrets([OTHER])))

    @pytest.mark.parametrize(
        "text", ["[]", "{}", json.dumps({"format": "audit-keyring", "version": 9, "keys": []})]
    )
    def test_another_text_is_refused(self, text):
        with pytest.raises(ValueError, match="no keyring of version 1"):
            MemoryKeyring.load(text, Secrets([OLD]))


class Curious:
    """A plugin that looks at everything."""

    def __init__(self):
        self.seen: list[str] = []

    @hookimpl
    def audit_enrich_event(self, event):
        self.seen.append(f"{event!r} {event.diff!r}")
        return {}


class TestRecorder:
    def test_secrets_are_sealed_before_a_plugin_sees_the_event(self, keyring):
        plugin = Curious()
        recorder = Recorder(PluginManager(entry_points=[], plugins={"curious": plugin}))
        recorded = recorder.build(
            "update",
            diff={"ssn": ssn("1", SSN)},
            tenant="acme",
            key_of=lambda event: keyring.for_scope(Scope(event.tenant)),
        )
        assert SSN not in recorded.text
        assert "sealed" in plugin.seen[0]
        assert SSN not in plugin.seen[0]
        assert unseal(recorded.event, "ssn", "after", keyring) == SSN
        assert keyring.wrapped()[0].scope == Scope("acme")

    def test_without_keys_they_are_not_kept(self):
        recorder = Recorder(PluginManager(entry_points=[], plugins={}))
        assert recorder.build("update", diff={"ssn": ssn(None, SSN)}).event.diff["ssn"].after == {
            "sealed": {}
        }


def test_importing_audit_core_does_not_import_cryptography():
    program = (
        "import sys, audit_core.recorder, audit_core.privacy.keyring; sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
