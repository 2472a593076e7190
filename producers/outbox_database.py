"""The session in an application's database: its time limits, and what it means when it does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from ledger.database import DEFAULTS
from ledger.errors import BadConfiguration, StepbackError

#: Notifications of new requests come here, empty.
CHANNEL: Final = "stepback_outbox"

#: An envelope that was kept must survive a crash, whatever the role's own settings are. The transaction that waits for
#: the ledger is idle meanwhile; the ledger's own limits are shorter.
_SESSION: Final = (
    "-c synchronous_commit=on -c timezone=UTC -c statement_timeout=30s -c lock_timeout=15s"
    " -c idle_in_transaction_session_timeout=120s -c client_encoding=UTF8"
    # Names that somebody put into the path mean nothing to us.
    " -c search_path=pg_catalog,pg_temp"
)
#: How long a request to stop may go unseen while nothing happens.
_LOOK_SECONDS: Final = 0.5

Connection = psycopg.Connection[dict[str, Any]]


class OutboxUnreachable(StepbackError):
    """The application's database does not answer; requests wait in its outbox."""

    code: ClassVar[str] = "outbox_unreachable"
    retryable: ClassVar[bool] = True


class OutboxNotInstalled(BadConfiguration):
    """The database has no outbox, or not for this login."""

    code: ClassVar[str] = "outbox_not_installed"


def connect(name: str, dsn: str) -> Connection:
    """Return a session outside any transaction.

    Args:
        name: The outbox, for messages.
        dsn: Its database, as libpq takes it. It never goes into a message.

    Raises:
        BadConfiguration: The URL cannot be read.
        OutboxUnreachable: The database does not answer, or does not let us in.
    """
    try:
        given = {key: value for key, value in conninfo_to_dict(dsn).items() if value is not None}
    except psycopg.Error:
        # libpq's message repeats what it stumbled over, which may be part of the password.
        raise BadConfiguration(
            f"the URL of outbox {name} cannot be read: write postgresql://user@host:port/database"
        ) from None
    options = " ".join(filter(None, (_SESSION, str(given.pop("options", "")))))
    conninfo = make_conninfo("", **{**DEFAULTS, "application_name": "stepback outbox", **given, "options": options})
    with reaching(name):
        return psycopg.connect(conninfo, autocommit=True, row_factory=dict_row)


@contextmanager
def reaching(name: str) -> Iterator[None]:
    """Turn the driver's errors into ours.

    Raises:
        OutboxNotInstalled: The outbox is not there, or not for this login.
        OutboxUnreachable: Anything else that the database or the way there did. What was not committed will be done
            again.
    """
    try:
        yield
    except (
        psycopg.errors.UndefinedTable,
        psycopg.errors.UndefinedColumn,
        psycopg.errors.InvalidSchemaName,
        psycopg.errors.InsufficientPrivilege,
    ) as error:
        raise OutboxNotInstalled(
            f"the database of outbox {name} has no outbox for this login; let an administrator run there what "
            "`stepback outbox --sql` prints, and log in as stepback_relay"
        ) from error
    except psycopg.Error as error:
        code = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
        raise OutboxUnreachable(
            f"the database of outbox {name} does not answer{code}; check that it runs and that its URL is right: "
            "requests wait there meanwhile"
        ) from error


def wait_for_notice(conn: Connection, seconds: float, stopped: Callable[[], bool]) -> None:
    """Wait until somebody has asked for something, the time is up, or it is time to stop.

    Args:
        conn: Listens to `CHANNEL`.
        seconds: At most.
        stopped: Whether it is time to stop.
    """
    until = time.monotonic() + seconds
    while not stopped() and (left := until - time.monotonic()) > 0:
        if list(conn.notifies(timeout=min(left, _LOOK_SECONDS), stop_after=1)):
            return
