"""The SQL side of the outbox: who asks is who logged in, and nobody sees or alters what others have asked."""

from __future__ import annotations

from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors as pg

from tests.fix_outbox import STRANGER, Application

ASK = "SELECT stepback.request_rollback('add_prices', 'wrong prices', 'shop') AS id"
INSERT = (
    "INSERT INTO stepback.outbox (requested_at, not_after, kind, target, reason)"
    " VALUES (now(), now(), 'rollback', 'shop', 'why')"
)
SECRET = "canary-5b1e"


def asked(application: Application, statement: str = ASK, login: str = "shop_billing") -> UUID:
    """Ask for something, and return the id of the command."""
    (row,) = application.execute(login, statement)
    found = row["id"]
    assert isinstance(found, UUID)
    return found


# -- asking -----------------------------------------------------------------


def test_a_rollback_is_written_down_as_it_was_asked(application: Application) -> None:
    """The row holds what was asked, who asked, and until when it may be begun; nothing of an answer yet."""
    command_id = asked(application)

    (row,) = application.rows()
    assert (row["command_id"], row["requested_by"], row["kind"]) == (command_id, "shop_billing", "rollback")
    assert (row["target"], row["migration"], row["reason"]) == ("shop", "add_prices", "wrong prices")
    assert (row["not_after"] - row["requested_at"]).total_seconds() == pytest.approx(3600, abs=1)
    assert [row[name] for name in ("envelope", "run", "refused_code", "answered_at")] == [None] * 4


def test_every_argument_has_its_name(application: Application) -> None:
    """Both functions take their arguments by name, in any order."""
    hash_ = "ab" * 32
    asked(
        application,
        "SELECT stepback.request_rollback(target => 'shop', migration => 'add_prices', reason => 'Preise: 1 € zu hoch',"
        f" idempotency_key => 'incident 12', plan_sha256 => '{hash_}', accept_sha256 => '{hash_}',"
        " valid_for => '24 hours') AS id",
    )
    asked(
        application,
        "SELECT stepback.request_recovery(target => 'shop', run => 7, reason => 'was right', migration => 'a.b-c_1',"
        " policy => 'aside', valid_for => '1 second') AS id",
    )

    rollback, recovery = application.rows()
    assert (rollback["plan_sha256"], rollback["accept_sha256"], rollback["idempotency_key"]) == (
        hash_,
        hash_,
        "incident 12",
    )
    assert (recovery["kind"], recovery["subject_run"], recovery["policy"]) == ("recover", 7, "aside")


def test_a_request_that_is_rolled_back_vanishes(application: Application) -> None:
    """It is part of the caller's transaction: taken back with it, and nobody hears of it."""
    with application.connect("postgres") as listener, application.connect("shop_billing") as conn:
        listener.execute("LISTEN stepback_outbox")
        conn.execute("BEGIN")
        conn.execute(ASK.encode())
        conn.execute("ROLLBACK")

        assert list(listener.notifies(timeout=0.2, stop_after=1)) == []
    assert application.rows() == []


def test_a_request_is_heard_of_when_it_commits(application: Application) -> None:
    """The notification is empty: everybody may listen to it."""
    with application.connect("postgres") as listener, application.connect("shop_billing") as conn:
        listener.execute("LISTEN stepback_outbox")
        conn.execute(ASK.encode())

        (notice,) = listener.notifies(timeout=10, stop_after=1)
    assert (notice.channel, notice.payload) == ("stepback_outbox", "")


def test_the_same_key_is_the_same_request(application: Application) -> None:
    """Asked again under its idempotency key a request is not asked again; another requester's key is another key."""
    again = ASK.replace("'shop')", "'shop', 'k1')")

    first = asked(application, again)

    assert asked(application, again) == first
    assert asked(application, again, "shop_orders") != first
    assert len(application.rows()) == 2


def test_the_same_key_for_something_else_is_refused(application: Application) -> None:
    """A key that was used for another request is a mistake, and said to be one."""
    asked(application, ASK.replace("'shop')", "'shop', 'k1')"))

    with pytest.raises(pg.UniqueViolation, match="use a new key"):
        asked(application, ASK.replace("'shop')", "'store', 'k1')"))


# -- who asks ---------------------------------------------------------------


def test_set_role_does_not_change_who_asks(application: Application) -> None:
    """Whoever may act as another role asks in their own name still."""
    login = f"shop_deploy_{uuid4().hex[:8]}"
    application.execute("postgres", f"CREATE ROLE {login} LOGIN IN ROLE shop_orders")
    try:
        application.execute(login, f"SET ROLE shop_orders; {ASK}")
    finally:
        application.execute("postgres", f"DROP ROLE {login}")

    assert [row["requested_by"] for row in application.rows()] == [login]


def test_a_function_of_somebody_else_does_not_change_who_asks(application: Application) -> None:
    """Within a SECURITY DEFINER function of a role that may ask, it is still the login that is written down."""
    application.execute(
        "postgres",
        "CREATE SCHEMA door; GRANT USAGE ON SCHEMA door TO PUBLIC;"
        f" CREATE FUNCTION door.ask() RETURNS uuid LANGUAGE sql SECURITY DEFINER AS $$ {ASK} $$;"
        " ALTER FUNCTION door.ask OWNER TO shop_billing",
    )

    application.execute(STRANGER, "SELECT door.ask()")

    assert [row["requested_by"] for row in application.rows()] == [STRANGER]


def test_a_role_with_any_name_is_itself(application: Application) -> None:
    """Names are taken as they are; the relay quotes them."""
    login = f'odd/{uuid4().hex[:8]} "role"'
    quoted = '"' + login.replace('"', '""') + '"'
    application.execute("postgres", f"CREATE ROLE {quoted} LOGIN IN ROLE stepback_requester")
    try:
        asked(application, login=login)
    finally:
        application.execute("postgres", f"DROP ROLE {quoted}")

    assert [row["requested_by"] for row in application.rows()] == [login]


# -- who may not ------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        ASK,
        "SELECT stepback.request_recovery(1, 'why', 'shop')",
        "SELECT * FROM stepback.requests",
        "SELECT * FROM stepback.outbox",
    ],
)
def test_a_role_without_the_grant_is_refused(application: Application, statement: str) -> None:
    """Nothing of the schema is open to everybody."""
    with pytest.raises(pg.InsufficientPrivilege):
        application.execute(STRANGER, statement)

    assert application.rows() == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM stepback.outbox",
        INSERT,
        "INSERT INTO stepback.requests (kind) VALUES ('rollback')",
        "UPDATE stepback.outbox SET reason = 'better'",
        "UPDATE stepback.requests SET reason = 'better'",
        "UPDATE stepback.requests SET run = 1",
        "DELETE FROM stepback.outbox",
        "DELETE FROM stepback.requests",
        "TRUNCATE stepback.outbox",
        "SELECT stepback.append_request('rollback', 's', 'm', NULL, 'r', NULL, NULL, NULL, NULL, '1 hour')",
        "CREATE TABLE stepback.mine ()",
        "SET ROLE stepback_outbox",
        "SET ROLE stepback_relay",
        "SET SESSION AUTHORIZATION shop_orders",
    ],
)
def test_a_requester_can_only_ask(application: Application, statement: str) -> None:
    """Nobody who may ask can write past the functions, alter what was asked, answer it, or be somebody else."""
    asked(application)
    before = application.rows()

    with pytest.raises(pg.InsufficientPrivilege):
        application.execute("shop_billing", statement)

    assert application.rows() == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stepback.outbox SET reason = 'better'",
        "UPDATE stepback.outbox SET requested_by = 'shop_orders'",
        "UPDATE stepback.outbox SET target = 'other'",
        "DELETE FROM stepback.outbox",
        "TRUNCATE stepback.outbox",
        INSERT,
        ASK,
    ],
)
def test_the_relay_can_only_answer(application: Application, statement: str) -> None:
    """The relay's login can neither ask nor alter or delete what was asked."""
    asked(application)

    with pytest.raises(pg.InsufficientPrivilege):
        application.execute("stepback_relay", statement)


def test_everybody_sees_their_own_requests(application: Application) -> None:
    """The view has what this login asked for, with its state, and nothing of others."""
    mine, theirs = asked(application), asked(application, login="shop_orders")

    seen = application.execute("shop_billing", "SELECT * FROM stepback.requests")

    assert [(row["command_id"], row["state"], row["run"]) for row in seen] == [(mine, "waiting", None)]
    (other,) = application.execute("shop_orders", "SELECT * FROM stepback.requests")
    assert other["command_id"] == theirs


def test_a_function_that_tells_sees_no_rows_of_others(application: Application) -> None:
    """A cheap function in WHERE is not asked about rows of others before they are left out."""
    asked(application, ASK.replace("wrong prices", SECRET), "shop_orders")
    asked(application)

    with application.connect("shop_billing") as conn:
        notices: list[str] = []
        conn.add_notice_handler(lambda notice: notices.append(notice.message_primary or ""))
        conn.execute(
            "CREATE FUNCTION pg_temp.tells(t text) RETURNS bool LANGUAGE plpgsql COST 0.0000001"
            " AS $$ BEGIN RAISE NOTICE '%', t; RETURN true; END $$"
        )
        conn.execute("SELECT * FROM stepback.requests WHERE pg_temp.tells(reason)")

    assert notices == ["wrong prices"]


# -- the path ---------------------------------------------------------------


def test_what_a_caller_puts_into_the_path_means_nothing(application: Application) -> None:
    """Functions, operators, types and tables of the caller's own, found first by the caller, are not found by ours."""
    application.execute("postgres", "CREATE SCHEMA trap AUTHORIZATION shop_billing")
    trap = """
        CREATE FUNCTION trap.boom(text) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
        CREATE FUNCTION trap.gen_random_uuid() RETURNS uuid LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
        CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
        CREATE FUNCTION trap.char_length(text) RETURNS int LANGUAGE sql AS $$ SELECT trap.boom($1) $$;
        CREATE FUNCTION trap.octet_length(text) RETURNS int LANGUAGE sql AS $$ SELECT trap.boom($1) $$;
        CREATE FUNCTION trap.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
        CREATE FUNCTION trap.bad(text, text) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE 'caught'; END $$;
        CREATE OPERATOR trap.!~ (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.bad);
        CREATE OPERATOR trap.~ (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.bad);
        CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.bad);
        CREATE TEMPORARY TABLE outbox (LIKE pg_catalog.pg_class);
        CREATE DOMAIN trap.uuid AS text CHECK (VALUE = 'caught');
        SET search_path = trap, pg_temp, pg_catalog;
    """

    with application.connect("shop_billing") as conn:
        conn.execute(trap.encode())
        conn.execute(ASK.encode())
        # Twice, for what a session may have cached of the first.
        conn.execute(ASK.replace("'shop')", "'shop', 'k1')").encode())
        conn.execute("SELECT * FROM stepback.requests")

    assert [row["requested_by"] for row in application.rows()] == ["shop_billing"] * 2


def test_every_function_that_has_rights_has_a_path_of_its_own(application: Application) -> None:
    """No function of the schema resolves names by the caller's path."""
    found = application.execute(
        "postgres",
        "SELECT proname FROM pg_proc WHERE pronamespace = 'stepback'::regnamespace"
        " AND NOT coalesce(proconfig @> ARRAY['search_path=pg_catalog, pg_temp'], false)",
    )

    assert found == []


# -- texts ------------------------------------------------------------------


@pytest.mark.parametrize(
    "reason",
    [
        f"{SECRET}\nsecond line",
        f"{SECRET}\t",
        f"{SECRET}\x1b[31m",
        f"{SECRET}\x7f",
        f"{SECRET}\x85",
        f"{SECRET}\u2028",
        f"{SECRET}\u2029",
        f"{SECRET}\u202e",
        f"{SECRET}\u2069",
        SECRET + "x" * 500,
        "",
        "   ",
        None,
    ],
    ids=ascii,
)
def test_a_reason_is_one_line_of_plain_text(application: Application, reason: str | None) -> None:
    """Control characters, line ends, over-long and empty texts are refused; the error repeats none of it."""
    with pytest.raises(psycopg.DataError, match="the reason") as refused:
        application.execute("shop_billing", "SELECT stepback.request_rollback('add_prices', %s, 'shop')", reason)

    assert SECRET not in str(refused.value)
    assert application.rows() == []


@pytest.mark.parametrize("reason", ["x" * 500, "ü" * 500, "日本語 🐘", "a'b\"c\\d;--"])
def test_a_reason_may_be_any_plain_text(application: Application, reason: str) -> None:
    """500 characters of any script, quotes and backslashes are kept as they are."""
    application.execute("shop_billing", "SELECT stepback.request_rollback('add_prices', %s, 'shop')", reason)

    assert [row["reason"] for row in application.rows()] == [reason]


@pytest.mark.parametrize(
    "name",
    [
        f"postgresql://app:{SECRET}@db/x",
        f"password={SECRET}",
        f"../{SECRET}",
        f"a..{SECRET}",
        f"{SECRET}\n",
        f"{SECRET} ",
        f"{SECRET}é",
        SECRET + "x" * 63,
        f"-{SECRET}",
        "",
        None,
    ],
    ids=ascii,
)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT stepback.request_rollback(%s, 'why', 'shop')",
        "SELECT stepback.request_rollback('add_prices', 'why', %s)",
        "SELECT stepback.request_recovery(1, 'why', %s)",
    ],
)
def test_names_are_names(application: Application, statement: str, name: str | None) -> None:
    """A target or migration that cannot be a name is refused; the error repeats none of it."""
    with pytest.raises(psycopg.DataError, match="name") as refused:
        application.execute("shop_billing", statement, name)

    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ("idempotency_key => ''", "idempotency key"),
        ("idempotency_key => repeat('k', 201)", "idempotency key"),
        (r"idempotency_key => E'a\nb'", "idempotency key"),
        ("idempotency_key => 'é'", "idempotency key"),
        ("idempotency_key => ' a'", "idempotency key"),
        ("plan_sha256 => 'AB'", "plan_sha256 is not a hash"),
        (r"accept_sha256 => repeat('a', 64) || E'\n'", "accept_sha256 is not a hash"),
        ("valid_for => '0'", "valid_for"),
        ("valid_for => '-1 second'", "valid_for"),
        ("valid_for => '24 hours 1 second'", "valid_for"),
        ("valid_for => '1 month'", "valid_for"),
        ("valid_for => NULL", "valid_for"),
    ],
)
def test_the_other_arguments_are_checked_too(application: Application, arguments: str, problem: str) -> None:
    """Each error names the argument at fault."""
    with pytest.raises(psycopg.DataError, match=problem):
        asked(application, f"SELECT stepback.request_rollback('add_prices', 'why', 'shop', {arguments}) AS id")


@pytest.mark.parametrize("run", ["0", "-1", "NULL"])
def test_a_recovery_names_a_run(application: Application, run: str) -> None:
    """Runs count from 1; the monitor's canaries cannot be recovered."""
    with pytest.raises(psycopg.DataError, match="a run is known by its number"):
        asked(application, f"SELECT stepback.request_recovery({run}, 'why', 'shop') AS id")


def test_a_policy_is_one_of_three(application: Application) -> None:
    """An unknown policy is refused with the words that are known."""
    with pytest.raises(psycopg.DataError, match="none of skip, overwrite and aside"):
        asked(application, "SELECT stepback.request_recovery(1, 'why', 'shop', policy => 'merge') AS id")


def test_a_day_is_24_hours(application: Application) -> None:
    """The longest time that a request may ask for is not longer than what the door takes."""
    application.execute(
        "shop_billing",
        "SET TimeZone = 'Europe/Berlin';" + ASK.replace("'shop')", "'shop', valid_for => '1 day')"),
    )

    (row,) = application.rows()
    assert (row["not_after"] - row["requested_at"]).total_seconds() <= 24 * 3600
