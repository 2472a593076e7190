"""Entries of the Redis stream: what a sender may put into one, and how the envelope is found in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ledger.errors import BadRequest, EntryGone
from producers.cloudevents import envelope_of
from producers.submit import Handed

#: The fields that may hold a command: as a compact JWS, or as a CloudEvent in structured JSON around it.
ENVELOPE: Final = b"envelope"
EVENT: Final = b"event"
#: The field that may hold the sender's own key beside it.
IDEMPOTENCY_KEY: Final = b"idempotency_key"
#: Longest value of either in bytes: the longest envelope, and room for what a CloudEvent puts around it.
MAX_VALUE: Final = 70 * 1024


@dataclass(frozen=True, eq=False)
class Entry:
    """One entry, before anything in it is believed."""

    #: As Redis gives it: milliseconds, a dash, a number.
    entry_id: str
    #: Empty where the entry is gone, which no entry can be by itself. Anybody's words: never shown.
    fields: Mapping[bytes, bytes] = field(repr=False)

    @property
    def gone(self) -> bool:
        """Whether it was deleted or trimmed while it was being worked on."""
        return not self.fields


def read(entry: Entry) -> Handed:
    """Return what an entry hands in. Fields of other names are left alone: tracing, for one, adds some.

    Raises:
        EntryGone: There is nothing to be read any more.
        BadRequest: It holds no envelope, or nothing that could be one; nothing of it is repeated.
    """
    if entry.gone:
        raise EntryGone(
            "the entry was deleted or trimmed from the stream before it was settled; add the same envelope again, which"
            " never makes a second run"
        )
    given = [name for name in (ENVELOPE, EVENT) if name in entry.fields]
    if len(given) != 1:
        raise BadRequest("an entry of the stream holds one of the fields envelope and event, and this one does not")
    (name,) = given
    value = entry.fields[name]
    if len(value) > MAX_VALUE:
        raise BadRequest(f"the field {name.decode()} is longer than {MAX_VALUE // 1024} KiB")
    key = entry.fields.get(IDEMPOTENCY_KEY)
    # Any byte has a meaning in Latin-1: whether it is one that a key may have is judged with all the others.
    return Handed(envelope_of(value) if name == EVENT else _ascii(value), key.decode("latin-1") if key else None)


def _ascii(value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        raise BadRequest("the field envelope is not ASCII; put the compact JWS in as it is") from None
