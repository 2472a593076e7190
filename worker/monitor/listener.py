"""Hears run events as they come, so that trouble is told at once; that all of it is told, the ledger sees to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError

from ledger.outlet import FIELD, STREAM

_BLOCK_MS: Final = 1000
_PAUSE_SECONDS: Final = 1.0


class Listener:
    """Reads the stream of events in a thread of its own."""

    def __init__(self, client: Redis, namespace: str, happened: Callable[[], None]) -> None:
        """Say where to listen.

        Args:
            client: Redis; it may be away.
            namespace: Prefix of every key.
            happened: Called for everything that happens to a run.
        """
        self._client = client
        self._stream = f"{namespace}:{STREAM}"
        self._happened = happened
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        """Begin, with what comes from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        last: bytes | None = None
        while not self._stopped.is_set():
            try:
                # "$" would mean the end at each call, and skip what comes between two.
                last = self._end() if last is None else last
                found: Any = self._client.xread({self._stream: last}, count=100, block=_BLOCK_MS)
            except (RedisError, OSError):
                # What comes meanwhile is in the ledger, which is looked through anyway.
                last = None
                self._stopped.wait(_PAUSE_SECONDS)
                continue
            for entry, fields in found[0][1] if found else ():
                last = entry
                if _is_of_run(fields.get(FIELD.encode())):
                    self._happened()

    def _end(self) -> bytes:
        """Return the id of the newest entry."""
        newest: Any = self._client.xrevrange(self._stream, count=1)
        return bytes(newest[0][0]) if newest else b"0"


def _is_of_run(body: bytes | None) -> bool:
    try:
        return str(json.loads(body or b"{}")["type"]).startswith("stepback.run_")
    except (ValueError, TypeError, KeyError, RecursionError):
        # Anybody may have put anything there.
        return False
