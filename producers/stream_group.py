"""The Redis side of the stream: one consumer of a group reads entries, takes over abandoned ones, and settles them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog
from dramatiq.brokers.redis import RedisBroker
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError, ResponseError
from redis.typing import EncodableT, FieldT

from ledger.errors import BadConfiguration, QueueUnreachable
from ledger.settings import StreamSettings
from producers.stream_entries import Entry

#: Entries that are read, submitted and settled together.
BATCH: Final = 64
#: Before every entry there is. What was settled is deleted, so nothing from there on was ever settled.
BEGINNING: Final = "0-0"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What became of an entry."""

    entry_id: str
    #: Of a command that is in the ledger.
    command_id: UUID | None = None
    run: int | None = None
    #: Of a refusal; empty where the command was accepted.
    code: str = ""
    message: str = ""


class Group:
    """One consumer in the group that shares the stream."""

    def __init__(self, broker: RedisBroker, settings: StreamSettings, consumer: str) -> None:
        """Say who reads what; nothing is sent yet.

        Args:
            broker: The doorbell, on the same Redis; its socket timeout is longer than any `wait_ms`.
            settings: Names the stream, the group, and where outcomes are told.
            consumer: No other process goes by this name.

        Raises:
            BadConfiguration: Two of the streams have one name, or one is the doorbell's.
        """
        names = (settings.name, settings.dead_letters, settings.answers)
        if len(set(names)) < len(names):
            # Dead letters on the stream itself would be read, refused and written for ever.
            raise BadConfiguration("[stream] name, dead_letters and answers have to be three different names")
        if any(name.startswith(f"{broker.namespace}:") for name in names):
            raise BadConfiguration(f"names of [stream] must not begin with {broker.namespace}: as keys of our own do")
        self._client: Redis = broker.client
        self._stream, self._dead_letters, self._answers = names
        self._group = settings.group
        self._idle_ms = int(settings.claim_seconds * 1000)
        self._max_length = settings.max_length
        self._consumer = consumer

    def make(self) -> None:
        """Make stream and group unless they are there.

        Raises:
            BadConfiguration: One of the names is taken by something that is not a stream.
            QueueUnreachable: Redis does not answer.
        """
        with _reaching_redis():
            for key in (self._stream, self._dead_letters, self._answers):
                # Found out now: in the middle of MULTI one command may fail while the others are carried out.
                if self._client.type(key) not in {b"none", b"stream"}:
                    raise BadConfiguration("a key that [stream] names holds something else than a stream; name another")
            try:
                self._client.xgroup_create(self._stream, self._group, id=BEGINNING, mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    def new(self, *, wait_ms: int) -> list[Entry]:
        """Return entries that nobody has read, waiting for the first; from now on they are this consumer's.

        Raises:
            QueueUnreachable: Redis does not answer; they may be this consumer's all the same.
        """
        return self._read(">", wait_ms)

    def mine(self, *, after: str) -> list[Entry]:
        """Return entries that are this consumer's and not settled, those that are gone too; they stay so for longer.

        Args:
            after: The id that they come after.

        Raises:
            QueueUnreachable: Redis does not answer.
        """
        return self._read(after, None)

    def _read(self, after: str, wait_ms: int | None) -> list[Entry]:
        with _reaching_redis(), self._made_again():
            answer = self._client.xreadgroup(
                self._group, self._consumer, {self._stream: after}, count=BATCH, block=wait_ms
            )
            return [Entry(entry_id.decode(), fields or {}) for entry_id, fields in _entries(answer)]
        return []

    def take_over(self) -> list[Entry]:
        """Make entries this consumer's that somebody has read and not settled in time; `mine` returns them.

        Returns:
            Those that are gone and that the server has forgotten over this, as Redis 7 does.

        Raises:
            QueueUnreachable: Redis does not answer; some may be this consumer's all the same.
        """
        gone: list[Entry] = []
        with _reaching_redis(), self._made_again():
            start: str | bytes = BEGINNING
            while True:
                start, _taken, *deleted = self._client.xautoclaim(
                    self._stream, self._group, self._consumer, self._idle_ms, start, count=BATCH
                )
                gone += [Entry(entry_id.decode(), {}) for entry_id in (deleted[0] if deleted else ())]
                if start == BEGINNING.encode():
                    break
        return gone

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Tell what became of entries, and take them off the stream, all as one.

        Raises:
            QueueUnreachable: Redis does not answer; it may be done all the same.
        """
        if not outcomes:
            return
        settled = [outcome.entry_id for outcome in outcomes]
        with _reaching_redis(), self._client.pipeline(transaction=True) as commands:
            for outcome in outcomes:
                self._append(commands, self._answers, _answer(outcome))
                if outcome.code:
                    self._append(commands, self._dead_letters, _dead_letter(outcome))
            commands.xack(self._stream, self._group, *settled)
            commands.xdel(self._stream, *settled)
            commands.execute()

    def leave(self) -> None:
        """Take the consumer off the group's list, unless entries are its own: they are taken over by their age.

        Raises:
            QueueUnreachable: Redis does not answer.
        """
        with _reaching_redis(), self._made_again():
            if not self._client.xpending_range(self._stream, self._group, "-", "+", 1, self._consumer):
                self._client.xgroup_delconsumer(self._stream, self._group, self._consumer)

    def _append(self, commands: Pipeline, stream: str, fields: dict[FieldT, EncodableT]) -> None:
        commands.xadd(stream, fields, maxlen=self._max_length, approximate=True)

    @contextmanager
    def _made_again(self) -> Iterator[None]:
        """Make the group again where a server without persistence was started anew, and go on as with no entries."""
        try:
            yield
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            log.warning("stream_group_missing", stream=self._stream, group=self._group)
            self.make()


def _entries(answer: Any) -> Iterable[tuple[bytes, Mapping[bytes, bytes] | None]]:  # noqa: ANN401 - redis-py's own type
    """Return the entries of the one stream: the URL decides which protocol is spoken, and that the shape."""
    for entries in answer.values() if isinstance(answer, dict) else (each[1] for each in answer):
        for entry in entries:
            # RESP3 as it comes has one list more around them.
            yield from entry if isinstance(entry, list) else (entry,)


def _answer(outcome: Outcome) -> dict[FieldT, EncodableT]:
    return {
        "entry": outcome.entry_id,
        "command_id": "" if outcome.command_id is None else str(outcome.command_id),
        "run": "" if outcome.run is None else str(outcome.run),
        "code": outcome.code,
    }


def _dead_letter(outcome: Outcome) -> dict[FieldT, EncodableT]:
    """Never what was in the entry: it may hold a password, and a refused command is not kept for later."""
    return {"entry": outcome.entry_id, "code": outcome.code, "message": outcome.message}


@contextmanager
def _reaching_redis() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        raise QueueUnreachable(
            f"Redis does not serve the stream ({type(error).__name__}); its entries stay where they are"
        ) from error
