"""The session in a target: time limits, identity, blockers, and SQLSTATE turned into our errors.

Nobody else in the worker catches the driver's errors.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.rows import dict_row, tuple_row

from ledger.errors import (
    LockNotAvailable,
    NotPossible,
    OutcomeUnknown,
    PlanRefused,
    StatementFailed,
    StepbackError,
    TargetUnreachable,
)

#: Ends a transaction whose client stopped talking while it holds locks; readers wait no longer than this.
IDLE_IN_TRANSACTION_MS = 2000
#: Oldest server that the catalog queries are written for.
OLDEST_SERVER = 150000

#: Settings of every session. Text output of values must not depend on how a role or database is configured,
#: since checksums are taken over it; row_security = off turns rows hidden by a policy into an error.
_SESSION: Mapping[str, str] = {
    "client_encoding": "UTF8",
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    # Plans are taken apart by a parser that reads strings so; the server must read the same.
    "standard_conforming_strings": "on",
    "row_security": "off",
    "synchronous_commit": "on",
    "client_connection_check_interval": "1000",
    "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_MS),
    # Queries are prepared and rehearsed before the locks; under them nothing is planned again.
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}

#: What no statement of a plan may leave changed: the transaction, who we are, and how statements are understood.
_HELD = (
    "transaction",
    "role",
    "search_path",
    "lock_timeout",
    "statement_timeout",
    "session_replication_role",
    "transaction_read_only",
    "check_function_bodies",
    "default_tablespace",
    *_SESSION,
)
_STATE = "SELECT jsonb_build_object('transaction', pg_current_xact_id()::text, {held}) AS state".format(
    held=", ".join(f"'{name}', current_setting('{name}')" for name in _HELD[1:])
)
_PERFORM = """CREATE FUNCTION pg_temp.stepback_perform(path text, statement text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS 'BEGIN PERFORM pg_catalog.set_config(''search_path'', path, true); EXECUTE statement; END'"""

#: Who lacks a privilege, unless it is somebody else.
_WORKERS_ROLE = "the worker's role"

#: SQLSTATE of a session that the server ended: idle in transaction, or in one transaction, for too long.
_ENDED = frozenset({"25P03", "25P04"})

#: Classes of errors that values in rows lead to: data exceptions, integrity constraint violations.
_OF_ROWS = frozenset({"22", "23"})
#: The server's function that RAISE of PL/pgSQL ends in.
_RAISE = "exec_stmt_raise"
#: SQLSTATE of a foreign key to columns that have no unique constraint any more.
_NO_KEY = "42830"
#: A relation, a function or a type of that name is not there, or not in the search_path.
_NOT_FOUND = frozenset({"42P01", "42883", "42704"})

Row = dict[str, Any]


@dataclass(frozen=True)
class Identity:
    """Which database this really is, whatever name leads to it."""

    system_identifier: str
    database_oid: int


@dataclass(frozen=True)
class Blocker:
    """A session that holds a lock which somebody waits for. Never its query, which may hold values."""

    pid: int
    user: str | None
    application: str | None
    mode: str

    def __str__(self) -> str:
        """Return it as an operator reads it."""
        return f"pid {self.pid} ({self.user or 'unknown'}, {self.application or 'no application name'}, {self.mode})"


class Session:
    """One direct connection to a target, outside any transaction unless `begin` was called."""

    def __init__(self, connection: psycopg.Connection[Row], schemas: Sequence[str]) -> None:
        self._connection = connection
        #: The search_path that the target gives to this role, as existing schemas; names in plans are resolved with it.
        self.schemas = tuple(schemas)

    @property
    def server_version(self) -> int:
        """Server version as a number, 180004 for 18.4."""
        return self._connection.info.server_version

    @property
    def pid(self) -> int:
        """Process id of the server's end."""
        return self._connection.info.backend_pid

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open and healthy."""
        return self._connection.info.transaction_status is TransactionStatus.INTRANS

    def execute(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> int:
        """Run one statement and return its row count (-1 where it has none).

        Args:
            statement: Without parameters it goes to the server as it is: `%` and `:x` mean nothing.
            parameters: Values only.
        """
        with self._unprepared():
            return self._connection.execute(_text(statement, parameters), parameters).rowcount

    def evaluate(self, statement: str) -> None:
        """Run one statement of ours that calls functions of the application; inside a transaction.

        Such a function may find its own names only with `schemas`: where one is missing, the statement is run again
        with them. Not before, since a name in what was written down could come to mean another object there.

        Args:
            statement: It goes to the server as it is.
        """
        once = f"SAVEPOINT stepback_once; {statement}\n; RELEASE SAVEPOINT stepback_once"
        try:
            self.execute(once)
        except StatementFailed as error:
            if not error.of_names:
                raise
            self.execute(
                "ROLLBACK TO SAVEPOINT stepback_once; RELEASE SAVEPOINT stepback_once;"
                f" SET LOCAL search_path = pg_catalog, {_path(self.schemas)}, pg_temp; {statement}\n;"
                " SET LOCAL search_path = pg_catalog, pg_temp"
            )

    def rows(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> list[Row]:
        """Run a query and return its rows as dicts."""
        with translated():
            return self._connection.execute(_text(query, parameters), parameters, prepare=True).fetchall()

    def look(self, query: str) -> list[tuple[Any, ...]]:
        """Run somebody else's query, read-only and without a trace, and return its rows; inside a transaction.

        Names in it are resolved with `schemas`. Read-only cannot be taken back in a transaction, but a savepoint takes
        it along. All in one message to the server, since it may run under locks. After an error the transaction is
        over.

        Args:
            query: One statement, as the parser cut it out.
        """
        path = _path(self.schemas)
        whole = (
            f"SAVEPOINT stepback_look; SET LOCAL transaction_read_only = on; SET LOCAL search_path = {path};"
            f" {query}\n; ROLLBACK TO SAVEPOINT stepback_look; RELEASE SAVEPOINT stepback_look"
        )
        with self._unprepared(), self._connection.cursor(row_factory=tuple_row) as cursor:
            cursor.execute(whole.encode())
            for _ in range(3):
                cursor.nextset()
            return cursor.fetchall()

    def inquire(
        self, query: str, settings: Mapping[str, str], *, most: int, own_names: bool
    ) -> tuple[tuple[str, ...], list[tuple[str | None, ...]]]:
        """Run somebody's query in a read-only transaction of its own; return its columns and first rows, as text.

        As text, since any type may come, and the driver cannot read every value that the server can print. Outside any
        transaction: there is none around it that could be written in, and no savepoint that would take read-only along.
        A cursor can only be declared for a query, and not for one that changes something.

        Args:
            query: One SELECT, as the parser cut it out.
            settings: Set for this query alone.
            most: So many rows at most.
            own_names: Resolve names with `schemas` instead of in pg_catalog alone.
        """
        cursor = '"stepback inquiry"'
        # All rows are wanted, not the first ones soon.
        settled = {"cursor_tuple_fraction": "1", **settings}
        if own_names:
            settled["search_path"] = _path(self.schemas)
        self.begin(read_only=True)
        try:
            self.rows(f"SELECT {', '.join(['set_config(%s, %s, true)'] * len(settled))}", list(chain(*settled.items())))
            self.execute(f"DECLARE {cursor} NO SCROLL CURSOR FOR {query}")
            with self._unprepared(), self._connection.cursor() as found:
                found.execute(f"FETCH FORWARD {most} FROM {cursor}".encode())
                assert found.pgresult is not None  # noqa: S101 - executed
                names, rows = _as_text(found.pgresult)
        except BaseException as first:
            self._rollback_after(first)
            raise
        self.rollback()
        return names, rows

    def try_prepare(self, query: str) -> None:
        """Let the server parse and analyse somebody's query, and forget it again; inside a transaction, which goes on.

        Raises:
            StatementFailed: It cannot.
        """
        # In two messages to the server, since it runs under locks.
        path, undo = _path(self.schemas), "ROLLBACK TO SAVEPOINT stepback_look; RELEASE SAVEPOINT stepback_look"
        try:
            self.execute(
                f"SAVEPOINT stepback_look; SET LOCAL search_path = {path}; PREPARE stepback_compatible AS {query}"
            )
        except StepbackError as first:
            try:
                self.execute(undo)
            except StepbackError as second:
                first.add_note(f"and taking it back failed too: {second}")
            raise
        # No transaction takes a prepared statement back.
        self.execute(f"{undo}; DEALLOCATE stepback_compatible")

    def perform(self, statement: str, owner: str, settings: Mapping[str, str]) -> None:
        """Run one statement of a plan as the role that owns it, which it can neither leave nor reach beyond.

        SET ROLE alone could be reset by any function that the statement calls; a SECURITY DEFINER function forbids
        that, and transaction control too. It is made anew for each statement, since its owner could replace it.

        Args:
            statement: One statement, as the parser cut it out; names are resolved with `schemas`.
            owner: The role.
            settings: Set for this statement alone; a limit of time counts where it is shorter than that in force.

        Raises:
            PlanRefused: It left a setting of the session other than it was.
            StepbackError: The server refused it.
        """
        path = _path(self.schemas)
        usual = self._set(settings)
        before = self.value(_STATE)
        self.execute(f"SET LOCAL ROLE {sql.Identifier(owner).as_string()}; {_PERFORM}; SET LOCAL ROLE NONE")
        try:
            self.rows("SELECT pg_temp.stepback_perform(%s::text, %s::text)", (path, statement))
        except NotPossible as error:
            raise NotPossible(
                error.message.replace(_WORKERS_ROLE, f"role {owner}, which this plan runs as,")
            ) from error
        after = self.value(_STATE)
        self._set(usual)
        self.execute("DROP FUNCTION pg_temp.stepback_perform(text, text)")
        if after != before:
            changed = ", ".join(name for name in _HELD if before[name] != after[name])
            raise PlanRefused(f"a statement of the plan changed {changed} for what comes after it; leave that out")

    def _set(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Set something for the transaction, limits of time only to less; return what it was."""
        usual: dict[str, str] = {}
        for name, value in settings.items():
            usual[name] = self.value("SELECT setting FROM pg_settings WHERE name = %s", (name,))
            limited = name == "statement_timeout" and int(usual[name])
            new = str(min(int(value) or limited, limited)) if limited else value
            self.rows("SELECT set_config(%s, %s, true)", (name, new))
        return usual

    def chunks(self, query: str, size: int) -> Generator[list[Row]]:
        """Run a query in a snapshot of its own, outside any transaction, and give its rows in chunks.

        The server has found them all and let the snapshot go before the first is given. To be closed after use.

        Args:
            query: Sees one moment, however long it takes.
            size: Rows in a chunk.
        """
        cursor = '"stepback chunks"'
        self.begin(read_only=True)
        try:
            # All rows are wanted, not the first ones soon; and there is one such query at a time.
            self.execute(
                "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;"
                " SET LOCAL cursor_tuple_fraction = 1; SET LOCAL work_mem = '64MB'"
            )
            self.execute(f"DECLARE {cursor} NO SCROLL CURSOR WITH HOLD FOR {query}")
            self.execute("COMMIT")
        except BaseException as first:
            self._rollback_after(first)
            raise
        try:
            while found := self.rows(f"FETCH FORWARD {size} FROM {cursor}"):
                yield found
        finally:
            if not self._connection.closed:
                with self._unprepared():
                    self._connection.execute(f"CLOSE {cursor}".encode())

    def row(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> Row | None:
        """Run a query and return its first row, or None."""
        found = self.rows(query, parameters)
        return found[0] if found else None

    def value(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - a column of any type
        """Run a query and return the first column of its first row, or None."""
        found = self.row(query, parameters)
        return None if found is None else next(iter(found.values()))

    def begin(self, *, read_only: bool = False) -> None:
        """Open a transaction."""
        self.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED READ {'ONLY' if read_only else 'WRITE'}")

    @contextmanager
    def resolving(self, schemas: Sequence[str] | None) -> Iterator[None]:
        """Let names in plans be resolved with other schemas for a while.

        Args:
            schemas: As a script says them; those that do not exist are passed over. None for the target's own.
        """
        own = self.schemas
        if schemas is not None:
            known = {row["name"] for row in self.rows("SELECT nspname::text AS name FROM pg_namespace")}
            user = self.value("SELECT current_user::text")
            said = [user if schema == "$user" else schema for schema in schemas]
            self.schemas = tuple(schema for schema in said if schema in known)
        try:
            yield
        finally:
            self.schemas = own

    @contextmanager
    def _unprepared(self) -> Iterator[None]:
        """Keep what was prepared: while it may prepare, the driver forgets it all at an ALTER, DROP or ROLLBACK TO."""
        self._connection.prepare_threshold = None
        try:
            with translated():
                yield
        finally:
            self._connection.prepare_threshold = 5

    def commit(self) -> None:
        """Commit.

        Raises:
            OutcomeUnknown: The connection broke on the way; the server may or may not have committed.
        """
        try:
            self._connection.execute(b"COMMIT")
        except psycopg.OperationalError as error:
            if not self._connection.closed and error.sqlstate is not None:
                raise translate(error) from error
            raise OutcomeUnknown("the connection broke during COMMIT; the marker in the target decides") from error
        except psycopg.Error as error:
            raise translate(error) from error

    def rollback(self) -> None:
        """Take the transaction back; a broken connection has done so already."""
        if not self._connection.closed and self._connection.info.transaction_status is not TransactionStatus.IDLE:
            with translated():
                self._connection.execute(b"ROLLBACK")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block in one short transaction; the first error is the one that is raised."""
        self.begin()
        try:
            yield
        except BaseException as first:
            self._rollback_after(first)
            raise
        self.commit()

    def _rollback_after(self, first: BaseException) -> None:
        try:
            self.rollback()
        except StepbackError as second:
            first.add_note(f"and taking it back failed too: {second}")

    @contextmanager
    def taken_back(self) -> Iterator[None]:
        """Run the block inside a savepoint that is always rolled back."""
        self.execute("SAVEPOINT stepback_look")
        try:
            yield
        finally:
            self.execute("ROLLBACK TO SAVEPOINT stepback_look; RELEASE SAVEPOINT stepback_look")

    @contextmanager
    def attempted(self) -> Iterator[None]:
        """Run the block inside a savepoint; after an error the transaction goes on as if it had not been."""
        self.execute("SAVEPOINT stepback_attempt")
        try:
            yield
        except StepbackError as first:
            try:
                self.execute("ROLLBACK TO SAVEPOINT stepback_attempt; RELEASE SAVEPOINT stepback_attempt")
            except StepbackError as second:
                first.add_note(f"and taking it back failed too: {second}")
            raise
        self.execute("RELEASE SAVEPOINT stepback_attempt")

    def limit(self, *, lock_timeout_ms: int, statement_timeout_ms: int) -> None:
        """Bound every later statement of this session."""
        self.rows(
            "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)",
            (str(lock_timeout_ms), str(statement_timeout_ms)),
        )

    @contextmanager
    def beside(self, owner: str) -> Iterator[None]:
        """Run the block as a role, outside any transaction, waiting for locks as long as any statement may run.

        For what runs CONCURRENTLY: while it waits for others, nobody else waits for it.

        Args:
            owner: The role. Such statements run no code that could leave it. Names are resolved with `schemas`.
        """
        before = self.row(
            "SELECT current_setting('lock_timeout') AS lock_timeout, current_setting('search_path') AS search_path,"
            " set_config('lock_timeout', current_setting('statement_timeout'), false),"
            " set_config('search_path', %s, false)",
            (_path(self.schemas),),
        )
        self.execute(f"SET ROLE {sql.Identifier(owner).as_string()}")
        try:
            yield
        finally:
            if not self._connection.closed:
                self.execute("RESET ROLE")
                self.rows(
                    "SELECT set_config('lock_timeout', %(lock_timeout)s, false),"
                    " set_config('search_path', %(search_path)s, false)",
                    before,
                )

    def identity(self) -> Identity:
        """Ask the server which database this is."""
        found = self.row(
            "SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS system_identifier,"
            " oid::bigint AS database_oid FROM pg_catalog.pg_database WHERE datname = current_database()"
        )
        assert found is not None  # noqa: S101 - the current database always exists
        return Identity(found["system_identifier"], found["database_oid"])

    def blockers(self, relation: int) -> tuple[Blocker, ...]:
        """Name the sessions that hold a lock on a relation.

        Args:
            relation: OID in pg_class.
        """
        found = self.rows(
            "SELECT DISTINCT ON (held.pid) held.pid, active.usename, active.application_name, held.mode"
            " FROM pg_catalog.pg_locks AS held LEFT JOIN pg_catalog.pg_stat_activity AS active USING (pid)"
            " WHERE held.locktype = 'relation' AND held.relation = %s AND held.granted AND held.pid <> pg_backend_pid()"
            " AND held.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
            " ORDER BY held.pid, held.mode",
            (relation,),
        )
        return tuple(Blocker(r["pid"], r["usename"], r["application_name"] or None, r["mode"]) for r in found)

    def close(self) -> None:
        """Hang up; an open transaction is taken back by the server."""
        self._connection.close()


def connect(dsn: str, application: str) -> Session:
    """Open a direct session to a target.

    Args:
        dsn: Connection URL. Never logged, never part of an error.
        application: Shown as application_name, so that a DBA knows whom to ask.

    Raises:
        TargetUnreachable: No answer within five seconds, or the server sent us away.
        NotPossible: It answers, but is a standby, a connection pooler, or older than 15.
    """
    try:
        connection = psycopg.connect(_conninfo(dsn, application), autocommit=True, row_factory=dict_row)
    except psycopg.Error as error:
        raise TargetUnreachable(f"the target cannot be reached: {_reason(error)}") from error
    try:
        with translated():
            return _prepare(connection)
    except BaseException:
        connection.close()
        raise


def _conninfo(dsn: str, application: str) -> str:
    try:
        return make_conninfo(
            dsn,
            application_name=application,
            connect_timeout=5,
            keepalives=1,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            # Keepalives do not count while something sent is not acknowledged; without this it is a quarter of an hour.
            tcp_user_timeout=25_000,
        )
    except psycopg.ProgrammingError:
        # The driver's message repeats parts of the URL, password included.
        raise TargetUnreachable("the target's url is not a valid PostgreSQL connection URL") from None


def _prepare(connection: psycopg.Connection[Row]) -> Session:
    if connection.info.server_version < OLDEST_SERVER:
        raise NotPossible("the target runs a PostgreSQL older than 15")
    told = connection.execute("SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS standby").fetchone()
    assert told is not None  # noqa: S101 - a SELECT without FROM always has a row
    if told["standby"]:
        raise NotPossible("the target is a standby; give the primary's address")
    if told["pid"] != connection.info.backend_pid:
        raise NotPossible("the target's url leads to a connection pooler; give the server's own address")
    path = connection.execute("SELECT current_schemas(false)::text[] AS schemas").fetchone()
    assert path is not None  # noqa: S101 - as above
    settings = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SESSION.items())
    connection.execute(f"SELECT {settings}, set_config('search_path', 'pg_catalog, pg_temp', false)")
    return Session(connection, path["schemas"])


def _as_text(result: PGresult) -> tuple[tuple[str, ...], list[tuple[str | None, ...]]]:
    """Return a result's columns and rows as the server printed them: without an encoding of its own, any bytes."""

    def decoded(value: bytes | None) -> str | None:
        return None if value is None else bytes(value).decode(errors="replace")

    columns = range(result.nfields)
    names = tuple(decoded(result.fname(column)) or "" for column in columns)
    return names, [tuple(decoded(result.get_value(row, col)) for col in columns) for row in range(result.ntuples)]


def array(values: Iterable[object]) -> str:
    """Return an array as a parameter whose type does not depend on its values, so that one prepared query serves all.

    Args:
        values: Numbers, or text without quotes and backslashes.
    """
    return "{" + ",".join(f'"{value}"' for value in values) + "}"


def _path(schemas: Sequence[str]) -> str:
    return ", ".join(sql.Identifier(schema).as_string() for schema in schemas) or "''"


def _text(statement: str, parameters: object) -> Any:  # noqa: ANN401 - str or bytes, as the driver wants a literal
    """Return a statement as the driver takes it: bytes are sent as they are."""
    return statement.encode() if parameters is None else statement


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's errors into ours, once."""
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate is None and not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            # The driver's own complaint about a call: a mistake of ours, not an answer of the server.
            raise
        raise translate(error) from error


def translate(error: psycopg.Error) -> StepbackError:
    """Return our error for one of the driver's, by SQLSTATE.

    The message keeps the server's primary line only, and of a RAISE not even that: the others may hold row values.
    Source: PostgreSQL documentation, appendix A, Error Codes.
    """
    match error:
        case pg.LockNotAvailable() | pg.DeadlockDetected():
            return LockNotAvailable("a lock was not granted in time")
        case pg.QueryCanceled():
            return StatementFailed("a statement ran longer than statement_timeout and was cancelled by the server")
        case pg.InsufficientPrivilege():
            return NotPossible(f"{_WORKERS_ROLE} lacks a privilege: {_reason(error)}")
    lost = isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    if lost and (error.sqlstate is None or error.sqlstate[:2] in {"08", "57", "53"}):
        return TargetUnreachable(f"the connection to the target was lost: {_reason(error)}")
    if error.sqlstate in _ENDED:
        return TargetUnreachable(f"the server ended the transaction: {_reason(error)}")
    return _refused(error)


def _refused(error: psycopg.Error) -> StatementFailed:
    state = error.sqlstate or ""
    return StatementFailed(
        f"the server refused a statement ({error.sqlstate}): {_reason(error)}",
        of_rows=state[:2] in _OF_ROWS or state == _NO_KEY,
        of_names=state in _NOT_FOUND,
    )


def _reason(error: psycopg.Error) -> str:
    primary = error.diag.message_primary
    if primary is None:
        return "no answer"
    # Data exceptions (class 22) and integrity violations (23) may quote a value in the primary line.
    if error.sqlstate is not None and error.sqlstate[:2] in _OF_ROWS:
        return type(error).__name__
    # Somebody's code says what it likes, under whatever SQLSTATE: of rows, too.
    if error.diag.source_function == _RAISE:
        return "a RAISE in a function or DO block, whose words may hold rows; the target's server log has them"
    return primary
