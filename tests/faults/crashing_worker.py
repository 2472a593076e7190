"""A real worker process that comes to grief at a crash point; settings come from the environment.

Arguments, all optional: the point, the signal that meets it there, and a file. With a file, only the first of all
processes that were given it is met, once, and leaves its process id there.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path

from ledger.settings import load
from worker.app import serve
from worker.crash_points import pass_by


def main() -> int:
    """Serve; at the named point, die as a machine dies, or freeze as it does when it is paused."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    fatal, met, token = [*sys.argv[1:], *[""] * 3][:3]

    def at(point: str) -> None:
        pass_by(point)
        if point == fatal and (not token or _first(Path(token))):
            # To this thread: it shall not take another step.
            signal.pthread_kill(threading.get_ident(), signal.Signals[met])

    return serve(load(), at=at)


def _first(token: Path) -> bool:
    with suppress(FileExistsError), token.open("x", encoding="ascii") as file:
        file.write(str(os.getpid()))
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
