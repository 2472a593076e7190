"""The way to the ledger: connections, transactions, and what it means when it does not answer."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ledger.errors import BadConfiguration, LedgerUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Set on every connection unless the URL says otherwise: a database that is gone is noticed within seconds.
DEFAULTS: Final[dict[str, str | int]] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "application_name": "stepback",
}

#: Server settings of every session. What was committed must survive a crash, whatever the role's own settings are.
_SESSION: Final = (
    "-c synchronous_commit=on -c timezone=UTC -c statement_timeout=30s -c lock_timeout=15s"
    " -c idle_in_transaction_session_timeout=60s"
)

#: Connections kept open, and how many more a burst may open.
_POOL_SIZE: Final = 5
_POOL_OVERFLOW: Final = 10
#: Seconds to wait for one of them.
_POOL_TIMEOUT_SECONDS: Final = 15

#: Where a connection keeps what waits for its COMMIT.
_AFTER_COMMIT: Final = "stepback.after_commit"

_SCHEMES: Final = ("postgresql://", "postgres://")


def open_ledger(url: str) -> Engine:
    """Return an engine for the ledger; nothing is connected yet.

    Args:
        url: A libpq URL, `postgresql://…`; everything that libpq understands may stand in it, a Unix socket's
            folder as `?host=`, too. It goes to libpq as it is and never into a message.

    Raises:
        BadConfiguration: The text is not such a URL.
    """
    return create_engine(
        "postgresql+psycopg://",
        connect_args=_parameters(url),
        pool_pre_ping=True,
        pool_size=_POOL_SIZE,
        max_overflow=_POOL_OVERFLOW,
        pool_timeout=_POOL_TIMEOUT_SECONDS,
        hide_parameters=True,
    )


def _parameters(url: str) -> dict[str, str | int]:
    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    if not plain.startswith(_SCHEMES):
        raise BadConfiguration("the ledger's URL does not begin with postgresql://")
    try:
        given = conninfo_to_dict(plain)
    except psycopg.Error:
        # libpq's message repeats what it stumbled over, which may be part of the password.
        raise BadConfiguration("the ledger's URL cannot be read: write postgresql://user@host:port/database") from None
    parameters = {name: value for name, value in given.items() if value is not None}
    options = " ".join(filter(None, (_SESSION, str(parameters.pop("options", "")))))
    return {**DEFAULTS, **parameters, "options": options}


@contextmanager
def reaching_ledger() -> Iterator[None]:
    """Turn the driver's connection failures into LedgerUnreachable; also a decorator.

    Raises:
        LedgerUnreachable: The ledger does not answer, answers too late, or takes no writes.
    """
    try:
        yield
    except PoolTimeout as error:
        raise LedgerUnreachable(
            f"no connection to the ledger became free within {_POOL_TIMEOUT_SECONDS} s; try again"
        ) from error
    except DBAPIError as error:
        if not _is_unreachable(error):
            raise
        sqlstate = getattr(error.orig, "sqlstate", None)
        code = f" (SQLSTATE {sqlstate})" if sqlstate else ""
        raise LedgerUnreachable(
            f"the ledger does not answer{code}; check that its server runs and takes writes, then try again"
        ) from error


def _is_unreachable(error: DBAPIError) -> bool:
    # After a failover the old primary may still be there, read-only.
    read_only = isinstance(error.orig, psycopg.errors.ReadOnlySqlTransaction)
    return isinstance(error, OperationalError) or error.connection_invalidated or read_only


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """Give a connection in a transaction: committed at the end, taken back on any error.

    Raises:
        LedgerUnreachable: As for `reaching_ledger`. After a cut during COMMIT the ledger may have it all the same.
    """
    with reaching_ledger(), engine.begin() as conn:
        yield conn
        # Taken here, so that they run when COMMIT has succeeded, and not just before it as in the event below.
        actions = conn.info.pop(_AFTER_COMMIT, ())
    for action in actions:
        action()


def after_commit(conn: Connection, action: Callable[[], object]) -> None:
    """Have something done once the transaction at hand is committed; nothing if it is taken back."""
    conn.info.setdefault(_AFTER_COMMIT, []).append(action)


@event.listens_for(Engine, "commit")
def _run_actions(conn: Connection) -> None:
    """Serve transactions that were not opened by `transaction`: SQLAlchemy tells of a COMMIT right before it."""
    for action in conn.info.pop(_AFTER_COMMIT, ()):
        action()


@event.listens_for(Engine, "rollback")
def _forget_actions(conn: Connection) -> None:
    # A connection that was cut has taken its list along; to ask for it would hide that it was cut.
    if not conn.invalidated:
        conn.info.pop(_AFTER_COMMIT, None)
