"""A service that asks by the Redis stream: it signs commands, adds entries, and reads what is told of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from joserfc.jwk import OKPKey
from redis import Redis
from redis.typing import EncodableT, FieldT
from sqlalchemy import Engine

from ledger.database import transaction
from ledger.installation import installation_id
from ledger.keys import register_key
from ledger.model import Kind
from ledger.request import Request
from ledger.settings import StreamSettings
from producers.envelope import sign
from producers.keys import PrivateKey

ISSUER = "service:billing"


@dataclass(frozen=True)
class Sender:
    """One service with a key of its own."""

    key: PrivateKey
    installation: UUID
    redis: Redis
    stream: StreamSettings

    def envelope(self, **changes: object) -> str:
        """Return a signed command to validate the target, with some of its fields changed."""
        now = datetime.now(UTC)
        fields: dict[str, Any] = {
            "kind": Kind.VALIDATE,
            "target": "goodbuy_hq",
            "reason": "is it sound?",
            "command_id": uuid4(),
            "audience": str(self.installation),
            "issuer": self.key.issuer,
            "issued_at": now,
            "not_after": now + timedelta(hours=1),
        }
        return sign(Request(**{**fields, **changes}), self.key)

    def add(self, **fields: EncodableT) -> str:
        """Add an entry; return its id."""
        entry: dict[FieldT, EncodableT] = dict(fields.items())
        return _text(self.redis.xadd(self.stream.name, entry))

    def add_together(self, envelopes: Sequence[str]) -> list[str]:
        """Add many entries so that a consumer finds all of them at once; return their ids."""
        with self.redis.pipeline(transaction=True) as commands:
            for envelope in envelopes:
                commands.xadd(self.stream.name, {"envelope": envelope})
            return [_text(entry_id) for entry_id in commands.execute()]

    def answers(self) -> list[dict[str, str]]:
        """Return what is told of entries, in order."""
        return self._read(self.stream.answers)

    def dead_letters(self) -> list[dict[str, str]]:
        """Return what is told of entries that were refused, in order."""
        return self._read(self.stream.dead_letters)

    def left(self) -> int:
        """Return how many entries are still on the stream."""
        length: int = self.redis.xlen(self.stream.name)
        return length

    def pending(self) -> list[str]:
        """Return the ids of entries that somebody has read and nobody has settled."""
        found: list[dict[str, Any]] = self.redis.xpending_range(self.stream.name, self.stream.group, "-", "+", 1000)
        return [each["message_id"].decode() for each in found]

    def everything(self) -> bytes:
        """Return all that Redis holds under the stream's names."""
        return b" ".join(
            repr(self.redis.xrange(name)).encode()
            for name in (self.stream.name, self.stream.answers, self.stream.dead_letters)
        )

    def _read(self, name: str) -> list[dict[str, str]]:
        entries: Any = self.redis.xrange(name)
        return [{_text(key): _text(value) for key, value in fields.items()} for _, fields in entries]


def _text(data: object) -> str:
    assert isinstance(data, bytes)
    return data.decode()


def a_sender(engine: Engine, redis: Redis, stream: StreamSettings) -> Sender:
    """Return a service whose key the ledger knows."""
    okp = OKPKey.generate_key("Ed25519")
    key = PrivateKey(key_id=okp.thumbprint(), issuer=ISSUER, okp=okp)
    with transaction(engine) as conn:
        register_key(conn, key.key_id, key.issuer, key.public_key)
    return Sender(key, installation_id(engine), redis, stream)


def cloud_event(envelope: str, **changes: object) -> str:
    """Return a CloudEvent in structured mode around an envelope, with some attributes changed."""
    event = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "/billing",
        "type": "stepback.command",
        "datacontenttype": "application/json",
        "data": {"envelope": envelope},
    }
    return json.dumps({**event, **changes})
