"""A real worker process that kills itself at a crash point, its argument; settings come from the environment."""

from __future__ import annotations

import os
import signal
import sys

from ledger.settings import load
from worker.app import serve
from worker.executor import pass_by


def main() -> int:
    """Serve; at the named point, die as a machine dies."""
    fatal = sys.argv[1] if len(sys.argv) > 1 else None

    def at(point: str) -> None:
        pass_by(point)
        if point == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    return serve(load(), at=at)


if __name__ == "__main__":
    sys.exit(main())
