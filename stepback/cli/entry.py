"""From the process's arguments to its exit code; every error becomes a line or a document here, never a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click
import structlog

from ledger import log
from ledger.errors import NotAllowed, StepbackError
from stepback.cli import exits
from stepback.cli.commands import stepback
from stepback.cli.scrub import scrubbed
from stepback.cli.telling import tell_error, tell_failure

#: SQLSTATE of the ledger's server: this login may not do that.
_FORBIDDEN = "42501"

_log = structlog.get_logger(__name__)


def main() -> None:
    """Be the console script."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line and return the exit code."""
    log.configure_logging(level="WARNING")
    try:
        code = stepback.main(args=[*arguments], prog_name="stepback", standalone_mode=False)
    except (KeyboardInterrupt, click.Abort):
        return exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has heard enough; without this the interpreter complains when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.FAILED
    except Exception as error:  # noqa: BLE001 - the last place where one can be told in a line
        return tell(error, arguments)
    return code if isinstance(code, int) else exits.OK


def tell(error: Exception, arguments: Sequence[str]) -> int:
    """Tell an error in the way that the arguments ask for, and return the exit code."""
    as_json = "--json" in arguments
    match error:
        case StepbackError():
            tell_error(error, as_json=as_json)
            return error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return exits.USAGE
        case click.ClickException():
            ctx = error.ctx if isinstance(error, click.UsageError) else None
            hint = f"; see `{ctx.command_path} --help`" if ctx else ""
            tell_failure("usage", scrubbed(error.format_message(), arguments).rstrip(".") + hint, as_json=as_json)
            return exits.USAGE
    if getattr(getattr(error, "orig", None), "sqlstate", None) == _FORBIDDEN:
        told = "the login of STEPBACK_LEDGER_URL may not do that; docs/deploying.md says which group of logins may"
        return tell(NotAllowed(told), arguments)
    _log.error("command_broke", exc_info=error)
    told = f"Stepback itself broke ({type(error).__name__}); the log line on standard error says where"
    tell_failure(StepbackError.code, told, as_json=as_json)
    return exits.FAILED
