"""What commands have in common that run until they are told to stop."""

from __future__ import annotations

import os
import signal
import threading

import click

from stepback.show.console import out, plain

_STDIN = 0

until_eof_option = click.option("--until-eof", is_flag=True, hidden=True, help="Also end when standard input does.")


def watch_stdin() -> None:
    """End when standard input does: whoever started us is gone then, however they went."""
    threading.Thread(target=_end_with_stdin, name="until-eof", daemon=True).start()


def say(text: str) -> None:
    """Tell people what goes on; the log is on standard error."""
    out().print(plain(text), soft_wrap=True)


def _end_with_stdin() -> None:
    # Not through sys.stdin: its lock, held by a blocked thread, would stop the interpreter from ending.
    while os.read(_STDIN, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
