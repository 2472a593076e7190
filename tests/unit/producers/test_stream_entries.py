"""Entries of the stream: one field with a command in it, and no word of theirs in any message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadRequest, EntryGone
from producers.stream_entries import MAX_VALUE, Entry, read
from tests.streaming import cloud_event

ENVELOPE = "e30.e30.e30"
CANARY = "canary-7f3d9a"


def test_an_envelope_is_found() -> None:
    """What stands in the field envelope is handed in as it is."""
    assert read(Entry("1-0", {b"envelope": ENVELOPE.encode()})).envelope == ENVELOPE


def test_an_envelope_is_found_in_a_cloud_event() -> None:
    """What stands in the data of a CloudEvent in the field event is handed in."""
    assert read(Entry("1-0", {b"event": cloud_event(ENVELOPE).encode()})).envelope == ENVELOPE


def test_the_senders_own_key_goes_along() -> None:
    """The field idempotency_key is handed in with the envelope; without it there is none."""
    fields = {b"envelope": ENVELOPE.encode()}

    assert read(Entry("1-0", fields)).idempotency_key is None
    assert read(Entry("1-0", {**fields, b"idempotency_key": b"order-7"})).idempotency_key == "order-7"


def test_fields_of_other_names_are_left_alone() -> None:
    """What tracing adds to an entry does not keep its command out."""
    assert read(Entry("1-0", {b"envelope": ENVELOPE.encode(), b"traceparent": b"\xff\x00"})).envelope == ENVELOPE


def test_an_entry_without_fields_is_gone() -> None:
    """Redis gives an entry that was deleted without any field, and lets nobody add one like that."""
    with pytest.raises(EntryGone, match="deleted or trimmed"):
        read(Entry("1-0", {}))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({b"payload": CANARY.encode()}, "one of the fields envelope and event"),
        ({b"envelope": ENVELOPE.encode(), b"event": cloud_event(ENVELOPE).encode()}, "one of the fields"),
        ({CANARY.encode(): b""}, "one of the fields"),
        ({b"envelope": CANARY.encode() + b"x" * MAX_VALUE}, "longer than 70 KiB"),
        ({b"event": b'"' + b"x" * MAX_VALUE + b'"'}, "longer than 70 KiB"),
        ({b"envelope": CANARY.encode() + b"\xff\xfe"}, "not ASCII"),
        ({b"event": CANARY.encode() + b"\xff\xfe"}, "strict JSON"),
        ({b"event": CANARY.encode() + b"\x00"}, "strict JSON"),
        ({b"event": b""}, "strict JSON"),
        ({b"event": b'{"id": "a", "id": "b"}'}, "no key twice"),
        ({b"event": b"[" * 50_000}, "strict JSON"),
        ({b"event": cloud_event(ENVELOPE, source={"of": CANARY}).encode()}, "source"),
        ({b"event": cloud_event(ENVELOPE, tenant={"of": CANARY}).encode()}, "extension"),
        ({b"event": cloud_event(ENVELOPE, data=[CANARY]).encode()}, "data"),
    ],
)
def test_an_entry_without_a_command_is_refused(fields: dict[bytes, bytes], words: str) -> None:
    """The message says what is wrong with an entry and repeats nothing of it."""
    with pytest.raises(BadRequest, match=words) as refused:
        read(Entry("1-0", fields))

    assert CANARY not in str(refused.value)


def test_an_entry_does_not_show_what_it_holds() -> None:
    """Logged or in a traceback, an entry is its id."""
    assert repr(Entry("1-0", {b"envelope": CANARY.encode()})) == "Entry(entry_id='1-0')"


@given(
    st.dictionaries(
        st.sampled_from([b"envelope", b"event", b"idempotency_key", b"other"]), st.binary(max_size=200), min_size=1
    )
)
def test_any_bytes_are_read_or_refused(fields: dict[bytes, bytes]) -> None:
    """No bytes in an entry make anything else than a command to look at, or a refusal."""
    try:
        handed = read(Entry("1-0", fields))
    except BadRequest:
        return
    assert handed.envelope.encode() == fields[b"envelope"]
