"""CloudEvents: what holds a command gives its envelope, everything else is refused without being repeated."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadRequest
from producers.cloudevents import MAX_ATTRIBUTE, envelope_of

CANARY = "canary-7f3d9a"
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "9f2c",
    "source": "/billing",
    "type": "stepback.command",
    "datacontenttype": "application/json",
    "data": {"envelope": "a.b.c"},
}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"time": "2026-11-23T12:00:00Z", "subject": "shop", "dataschema": "https://example.com/s"},
        {"time": "2026-11-23T12:00:00.123456789+01:00"},
        {"datacontenttype": None},
        {"datacontenttype": "application/json; charset=UTF-8"},
        {"traceparent": "00-4bf9-01", "sampled": True, "shard": -7},
        {"subject": None, "data_base64": None},
    ],
)
def test_an_event_gives_its_envelope(more: dict[str, Any]) -> None:
    """With the optional attributes and extensions of the specification too, as bytes or read already."""
    event = {**EVENT, **more}

    assert envelope_of(event) == "a.b.c"
    assert envelope_of(json.dumps(event).encode()) == "a.b.c"


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        *(({name: None}, f"no {name}") for name in ("specversion", "id", "source", "type", "data")),
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": 1}, "specversion"),
        ({"type": CANARY}, "type"),
        ({"type": ["stepback.command"]}, "type"),
        ({"id": ""}, "see id"),
        ({"id": 7}, "see id"),
        ({"id": f"{CANARY}\n"}, "see id"),
        ({"source": "x" * (MAX_ATTRIBUTE + 1)}, "see source"),
        ({"subject": {"a": CANARY}}, "see subject"),
        ({"datacontenttype": f"text/{CANARY}"}, "see datacontenttype"),
        ({"time": CANARY}, "see time"),
        ({"time": "2026-13-01T00:00:00Z"}, "see time"),
        ({CANARY: "x"}, "an attribute with a name"),
        ({"Upper": "x"}, "an attribute with a name"),
        ({"shard": 2**31}, "an extension"),
        ({"shard": [CANARY]}, "an extension"),
        ({"data_base64": "e30="}, "data_base64"),
        ({"data": CANARY}, "data of the event"),
        ({"data": {}}, "data of the event"),
        ({"data": {"envelope": 7}}, "data of the event"),
        ({"data": {"envelope": "a.b.c", CANARY: 1}}, "data of the event"),
    ],
)
def test_what_holds_no_command_is_refused(changed: dict[str, Any], words: str) -> None:
    """The message names the attribute, and repeats nothing of the event."""
    for event in ({**EVENT, **changed}, json.dumps({**EVENT, **changed}).encode()):
        with pytest.raises(BadRequest, match=words) as refused:
            envelope_of(event)
        assert CANARY not in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"\xff{}",
        b'{"id": NaN}',
        b"[" * 100_000,
        json.dumps(EVENT).encode()[:-1],
        json.dumps(EVENT).encode().replace(b'{"specversion"', b'{"id": "1", "specversion"'),
        json.dumps({**EVENT, "shard": 1.5}).encode(),
    ],
)
def test_only_strict_json_is_read(text: bytes) -> None:
    """UTF-8, one object, no key twice, whole numbers only."""
    with pytest.raises(BadRequest, match="strict JSON"):
        envelope_of(text)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda members: st.lists(members, max_size=3) | st.dictionaries(st.text(), members, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*EVENT, "time", "shard", "data_base64"]) | st.text(), _JSON))
def test_no_event_breaks_the_reader(changed: dict[str, Any]) -> None:
    """Whatever an event holds, it gives text or is refused."""
    with suppress(BadRequest):
        assert isinstance(envelope_of({**EVENT, **changed}), str)
