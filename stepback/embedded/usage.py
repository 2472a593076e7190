"""Who uses an embedded server: file locks, which the kernel takes back however a process ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ledger.errors import BadConfiguration


class Usage:
    """One user's share of a server; the last to give it up may stop the server.

    Only look at `alone` and only call `share` within `changing` of the same folder: a lock that is
    converted is let go for a moment, and nobody may slip in then.
    """

    def __init__(self, path: Path) -> None:
        self._fd: int | None = _open(path)

    def alone(self) -> bool:
        """Return whether nobody else uses the server; keeps newcomers out until `share` or `give_up`."""
        if self._fd is None:
            return False
        with suppress(BlockingIOError):
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def share(self) -> None:
        """Use the server beside others."""
        if self._fd is not None:
            fcntl.flock(self._fd, fcntl.LOCK_SH)

    def give_up(self) -> None:
        """Use it no longer; may be called again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Start or stop servers of a folder one process at a time.

    Args:
        folder: The data folder; holds `starting.lock` afterwards.
    """
    fd = _open(folder / "starting.lock")
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadConfiguration(
            f"{path} cannot be opened: {error.strerror}; the data folder must be the user's own (STEPBACK_DATA)",
        ) from error
