"""What is refused before anything is touched: the right code, a message that helps, an audit event, the same target."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy

from ledger.model import Run, State
from stepback.embedded import Postgres
from tests.harness import Engine, completed, ended
from worker.plan.parse import MAX_SCRIPT_BYTES

_ORDERS = "CREATE TABLE orders (id int PRIMARY KEY, c int, d int); INSERT INTO orders VALUES (1, 1, 1);"
_PARTED = (
    "CREATE TABLE p (id int PRIMARY KEY, n int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p DEFAULT;"
    "INSERT INTO p VALUES (1, 1);"
)
_NOTE = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
_TWICE = "CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';"


@dataclass(frozen=True)
class Refusal:
    """A target, a plan, and why it is refused."""

    name: str
    given: str
    plan: str
    code: str
    #: Part of the message.
    says: str
    #: Run by the superuser after `given`.
    admin: str = ""
    #: Oldest PostgreSQL on which it can be asked.
    since: int = 15


REFUSALS = [
    # -- nothing, or not all, is there
    Refusal(
        "nothing there", "", "DROP TABLE IF EXISTS a, b; DROP INDEX IF EXISTS i;", "nothing_to_roll_back", "table a"
    ),
    Refusal("nothing there, unasked", "", "DROP TABLE gone;", "nothing_to_roll_back", "table gone"),
    Refusal("no column there", _ORDERS, "ALTER TABLE orders DROP IF EXISTS x;", "nothing_to_roll_back", "orders.x"),
    Refusal("no schema there", _ORDERS, "DROP TABLE app.orders;", "nothing_to_roll_back", "app.orders"),
    Refusal("other case", 'CREATE TABLE "Orders" ()', "DROP TABLE Orders;", "nothing_to_roll_back", "orders"),
    Refusal("one table missing", _ORDERS, "DROP TABLE orders;\nDROP TABLE gone;", "plan_refused", "line 2: table gone"),
    Refusal("one column missing", _ORDERS, "ALTER TABLE orders DROP c, DROP x;", "plan_refused", "column orders.x"),
    Refusal("one table of columns missing", _ORDERS, "DROP TABLE orders; ALTER TABLE t DROP x;", "plan_refused", "t.x"),
    # -- what hangs on it
    Refusal(
        "foreign key of a survivor, no CASCADE",
        f"{_ORDERS} CREATE TABLE lines (o int REFERENCES orders)",
        "\nDROP TABLE orders;",
        "plan_refused",
        "line 2: table constraint lines_o_fkey on public.lines depends on table public.orders; say CASCADE",
    ),
    Refusal(
        "foreign key on a column, no CASCADE",
        f"{_ORDERS} ALTER TABLE orders ADD UNIQUE (c); CREATE TABLE lines (c int REFERENCES orders (c))",
        "ALTER TABLE orders DROP COLUMN c;",
        "plan_refused",
        "lines_c_fkey",
    ),
    Refusal(
        "foreign key on an index, no CASCADE",
        f"{_ORDERS} CREATE UNIQUE INDEX once ON orders (c); CREATE TABLE lines (c int REFERENCES orders (c))",
        "DROP INDEX once;",
        "plan_refused",
        "lines_c_fkey",
    ),
    Refusal(
        "default of a survivor on its sequence, no CASCADE",
        "CREATE TABLE orders (id serial); CREATE TABLE other (id int DEFAULT nextval('orders_id_seq'))",
        "DROP TABLE orders;",
        "plan_refused",
        "default value for public.other.id",
    ),
    Refusal(
        "generated column, no CASCADE",
        f"{_ORDERS} ALTER TABLE orders ADD e int GENERATED ALWAYS AS (c * 2) STORED",
        "ALTER TABLE orders DROP COLUMN c;",
        "plan_refused",
        "table column public.orders.e",
    ),
    Refusal(
        "generated column, not accepted",
        f"{_ORDERS} ALTER TABLE orders ADD e int GENERATED ALWAYS AS (c * 2) STORED",
        "ALTER TABLE orders DROP COLUMN c CASCADE;",
        "impact_not_accepted",
        'accepts = ["table column public.orders.e"]',
    ),
    Refusal(
        "column of a survivor, no CASCADE",
        "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE people (id int PRIMARY KEY, mood mood)",
        "DROP TYPE mood;",
        "plan_refused",
        "table column public.people.mood",
    ),
    Refusal(
        "columns of survivors, not accepted",
        "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE p (id int PRIMARY KEY, a mood, b mood[])",
        "DROP TYPE mood CASCADE;",
        "impact_not_accepted",
        'accepts = ["table column public.p.a", "table column public.p.b"]',
    ),
    Refusal(
        "view",
        f"{_ORDERS} CREATE VIEW v AS SELECT id FROM orders",
        "DROP TABLE orders CASCADE;",
        "impact_not_accepted",
        "v",
    ),
    Refusal(
        "view on a column",
        f"{_ORDERS} CREATE VIEW v AS SELECT c FROM orders",
        "ALTER TABLE orders DROP COLUMN c CASCADE;",
        "impact_not_accepted",
        "view public.v",
    ),
    Refusal(
        "function over its row type",
        f"{_ORDERS} CREATE FUNCTION f(orders) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP TABLE orders CASCADE;",
        "impact_not_accepted",
        "function public.f(public.orders)",
    ),
    Refusal(
        "function with a body of SQL",
        f"{_ORDERS} CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM orders; END",
        "DROP TABLE orders CASCADE;",
        "impact_not_accepted",
        "function public.f()",
    ),
    Refusal(
        "domain over a type",
        "CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN good AS mood",
        "DROP TYPE mood CASCADE;",
        "impact_not_accepted",
        "public.good",
    ),
    Refusal(
        "composite type over a type",
        "CREATE TYPE mood AS ENUM ('a'); CREATE TYPE pair AS (a mood, b int)",
        "DROP TYPE mood CASCADE;",
        "impact_not_accepted",
        "public.pair.a",
    ),
    Refusal(
        "function over a type",
        "CREATE TYPE mood AS ENUM ('a'); CREATE FUNCTION f(mood) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP TYPE mood CASCADE;",
        "impact_not_accepted",
        "function public.f(public.mood)",
    ),
    Refusal(
        "typed table over a type",
        "CREATE TYPE pair AS (a int); CREATE TABLE t OF pair",
        "DROP TYPE pair CASCADE;",
        "impact_not_accepted",
        "public.t",
    ),
    Refusal(
        "view, no CASCADE",
        f"{_ORDERS} CREATE VIEW v AS SELECT id FROM orders",
        "DROP TABLE orders;",
        "plan_refused",
        "line 1: view public.v depends on table public.orders; say CASCADE",
    ),
    Refusal(
        "view on a view, CASCADE only later",
        f"{_ORDERS} CREATE VIEW v AS SELECT id FROM orders; CREATE VIEW w AS SELECT v.id FROM v, orders",
        "DROP VIEW v;\nDROP TABLE orders CASCADE;",
        "plan_refused",
        "line 1: view public.w depends on view public.v",
    ),
    Refusal(
        "views, not accepted",
        f"{_ORDERS} CREATE VIEW v AS SELECT c FROM orders; CREATE VIEW w AS SELECT c FROM v",
        "ALTER TABLE orders DROP c CASCADE;",
        "impact_not_accepted",
        'accepts = ["view public.v", "view public.w"]',
    ),
    Refusal(
        "trigger of a function, no CASCADE",
        f"{_ORDERS} {_NOTE} CREATE TRIGGER t BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note()",
        "DROP FUNCTION note;",
        "plan_refused",
        "trigger t on public.orders depends on function public.note()",
    ),
    Refusal(
        "policy on a view, no CASCADE",
        f"{_ORDERS} CREATE VIEW v AS SELECT 1 AS a; CREATE POLICY p ON orders USING (id IN (SELECT a FROM v))",
        "DROP VIEW v;",
        "plan_refused",
        "policy p on public.orders",
    ),
    Refusal(
        "foreign key on a constraint, no CASCADE",
        f"{_ORDERS} CREATE TABLE lines (o int REFERENCES orders)",
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey;",
        "plan_refused",
        "lines_o_fkey",
    ),
    Refusal(
        "column of a view's row type",
        "CREATE VIEW v AS SELECT 1 AS a; CREATE TABLE t (id int PRIMARY KEY, v v)",
        "DROP VIEW v CASCADE;",
        "impact_not_accepted",
        "table column public.t.v depends on type public.v, and objects of this kind cannot be kept",
    ),
    Refusal(
        "generated column of a table that goes, over a function that goes",
        f"{_TWICE} CREATE TABLE t (id int PRIMARY KEY, d int GENERATED ALWAYS AS (twice(id)) STORED)",
        "DROP TABLE t; DROP FUNCTION twice;",
        "impact_not_accepted",
        "table column public.t.d depends on function public.twice(integer)",
    ),
    Refusal(
        "domain over a function",
        f"{_TWICE} CREATE DOMAIN small AS int CHECK (twice(VALUE) < 9)",
        "DROP FUNCTION twice CASCADE;",
        "impact_not_accepted",
        "cannot be kept yet",
    ),
    Refusal(
        "functions in a circle",
        "CREATE FUNCTION a() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION b() RETURNS int RETURN a();"
        "CREATE OR REPLACE FUNCTION a() RETURNS int RETURN b()",
        "DROP FUNCTION a, b;",
        "plan_refused",
        "in a circle, so none can be made again first: function public.a(), function public.b()",
    ),
    Refusal(
        "column of a table that goes, of the row type of a view that goes",
        "CREATE VIEW v AS SELECT 1 AS a; CREATE TABLE t (id int, v v[])",
        "DROP TABLE t; DROP VIEW v;",
        "impact_not_accepted",
        "table column public.t.v depends on type public.v[]",
    ),
    # -- what a name may mean
    Refusal(
        "any of several functions",
        f"{_TWICE} CREATE FUNCTION twice(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION twice;",
        "plan_refused",
        "function twice may be any of public.twice(integer), public.twice(text); write the types",
    ),
    Refusal(
        "other arguments", _TWICE, "DROP FUNCTION twice(bigint);", "nothing_to_roll_back", "twice(pg_catalog.int8)"
    ),
    Refusal("arguments of no type", _TWICE, "DROP FUNCTION twice(nothing);", "nothing_to_roll_back", "twice(nothing)"),
    Refusal("a function as a procedure", _TWICE, "DROP PROCEDURE twice(int);", "plan_refused", "is a function"),
    Refusal("a function as an aggregate", _TWICE, "DROP AGGREGATE twice(int);", "plan_refused", "is a function"),
    Refusal("a procedure by the name of a function", _TWICE, "DROP PROCEDURE twice;", "nothing_to_roll_back", "twice"),
    Refusal("a table as a view", _ORDERS, "DROP VIEW orders;", "plan_refused", "public.orders is a table"),
    Refusal(
        "a materialized view as a view",
        "CREATE MATERIALIZED VIEW m AS SELECT 1",
        "DROP VIEW m;",
        "plan_refused",
        "public.m is a materialized view",
    ),
    Refusal(
        "a view's query", "CREATE VIEW v AS SELECT 1", 'DROP RULE "_RETURN" ON v;', "nothing_to_roll_back", "rule v"
    ),
    Refusal("no such trigger", _ORDERS, "DROP TRIGGER t ON orders;", "nothing_to_roll_back", "trigger orders.t"),
    Refusal(
        "NOT NULL of a key",
        _ORDERS,
        "ALTER TABLE orders DROP CONSTRAINT orders_id_not_null;",
        "plan_refused",
        "is what the primary key needs",
        since=18,
    ),
    # -- what could not be made again
    Refusal(
        "a function that only a superuser can make: LEAKPROOF",
        _TWICE,
        "DROP FUNCTION twice;",
        "plan_refused",
        "is LEAKPROOF; only a superuser",
        admin="ALTER FUNCTION twice(int) LEAKPROOF",
    ),
    Refusal(
        "a function that only a superuser can make: written in C",
        "",
        "DROP FUNCTION quick;",
        "plan_refused",
        "is written in internal",
        admin="CREATE FUNCTION quick(int, int) RETURNS int LANGUAGE internal AS 'int4pl';"
        "ALTER FUNCTION quick OWNER TO goodbuy_app",
    ),
    Refusal(
        "a function that only a superuser can make: a setting",
        _TWICE,
        "DROP FUNCTION twice;",
        "plan_refused",
        "sets log_statement",
        admin="ALTER FUNCTION twice(int) SET log_statement = 'all'",
    ),
    Refusal(
        "a function that only a superuser can make: a setting of nobody's",
        _TWICE,
        "DROP FUNCTION twice;",
        "plan_refused",
        "sets my.own",
        admin="ALTER FUNCTION twice(int) SET my.own = 'x'",
    ),
    Refusal(
        "an aggregate that only a superuser can make",
        "",
        "DROP AGGREGATE avg8(bigint);",
        "plan_refused",
        "in memory of the server's own",
        admin="CREATE AGGREGATE avg8(bigint) (SFUNC = int8_avg_accum, STYPE = internal, FINALFUNC = numeric_poly_avg);"
        "ALTER AGGREGATE avg8(bigint) OWNER TO goodbuy_app",
    ),
    Refusal(
        "granted by somebody else",
        "CREATE VIEW v AS SELECT 1; GRANT SELECT ON v TO stepback_app WITH GRANT OPTION",
        "DROP VIEW v;",
        "plan_refused",
        'stepback_app, who does not own TABLE "public"."v", granted SELECT on it to PUBLIC',
        admin="SET ROLE stepback_app; GRANT SELECT ON v TO PUBLIC",
    ),
    Refusal(
        "a row type that was granted",
        "CREATE VIEW v AS SELECT 1; GRANT USAGE ON TYPE v TO stepback_app",
        "DROP VIEW v;",
        "plan_refused",
        "row type of view public.v",
    ),
    Refusal(
        "a function that depends on an extension",
        _TWICE,
        "DROP FUNCTION twice;",
        "plan_refused",
        "depends on one",
        admin="ALTER FUNCTION twice DEPENDS ON EXTENSION plpgsql",
    ),
    # -- kinds that are not covered
    Refusal("a view as a table", "CREATE VIEW v AS SELECT 1", "DROP TABLE v;", "plan_refused", "public.v is a view"),
    Refusal("a sequence as a table", "CREATE SEQUENCE s", "DROP TABLE s;", "plan_refused", "public.s is a sequence"),
    Refusal("a table as an index", _ORDERS, "DROP INDEX orders;", "plan_refused", "public.orders is a table"),
    Refusal("an index as a table", _ORDERS, "DROP TABLE orders_pkey;", "plan_refused", "public.orders_pkey is a"),
    Refusal("a row type", _ORDERS, "DROP TYPE orders;", "plan_refused", "is the row type of a table"),
    Refusal("an array type", "CREATE TYPE m AS ENUM ('a')", "DROP TYPE _m;", "plan_refused", "no enum, composite"),
    Refusal("index of a key", _ORDERS, "DROP INDEX orders_pkey CASCADE;", "plan_refused", "belongs to a constraint"),
    Refusal(
        "column of a parent",
        "CREATE TABLE p (id int PRIMARY KEY, n int); CREATE TABLE c () INHERITS (p)",
        "ALTER TABLE p DROP COLUMN n;",
        "plan_refused",
        "parents",
    ),
    Refusal(
        "typed table", "CREATE TYPE pair AS (a int); CREATE TABLE t OF pair", "DROP TABLE t;", "plan_refused", "typed"
    ),
    Refusal(
        "foreign table",
        "",
        "DROP TABLE f;",
        "plan_refused",
        "public.f is a foreign table",
        admin="CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER s FOREIGN DATA WRAPPER nowhere;"
        "CREATE FOREIGN TABLE f (id int) SERVER s",
    ),
    Refusal(
        "member of an extension",
        _ORDERS,
        "DROP TABLE orders;",
        "plan_refused",
        "belongs to an extension",
        admin="ALTER EXTENSION plpgsql ADD TABLE orders",
    ),
    Refusal(
        "type of a column without a key that stays",
        "CREATE TABLE t (a int PRIMARY KEY, b int UNIQUE, c int NOT NULL UNIQUE DEFERRABLE, d int NOT NULL);"
        "CREATE UNIQUE INDEX few ON t (d) WHERE d > 0; CREATE UNIQUE INDEX expr ON t ((d + 1))",
        "ALTER TABLE t ALTER a TYPE text;",
        "plan_refused",
        "add a key first",
    ),
    Refusal("system column", _ORDERS, "ALTER TABLE orders DROP COLUMN ctid;", "nothing_to_roll_back", "orders.ctid"),
    # -- families of tables
    Refusal(
        "parent, no CASCADE",
        "CREATE TABLE p (); CREATE TABLE c () INHERITS (p)",
        "DROP TABLE p;",
        "plan_refused",
        "table public.c depends on table public.p; say CASCADE",
    ),
    Refusal(
        "parent, child not accepted",
        "CREATE TABLE p (); CREATE TABLE c () INHERITS (p)",
        "DROP TABLE p CASCADE;",
        "impact_not_accepted",
        'accepts = ["table public.c"]',
    ),
    Refusal(
        "child with a check that is not validated",
        "CREATE TABLE p (n int, CONSTRAINT few CHECK (n < 5)); CREATE TABLE c (n int);"
        "ALTER TABLE c ADD CONSTRAINT few CHECK (n < 5); ALTER TABLE c INHERIT p;"
        "ALTER TABLE p DROP CONSTRAINT few; ALTER TABLE p ADD CONSTRAINT few CHECK (n < 5) NOT VALID",
        "DROP TABLE c;",
        "plan_refused",
        "constraint few, which",
    ),
    Refusal(
        "partition that others refer to through the whole",
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
        "CREATE TABLE lines (o int REFERENCES p)",
        "DROP TABLE p1 CASCADE;",
        "plan_refused",
        "refers to p, so p1 cannot be detached without loss",
    ),
    Refusal(
        "partition with two indexes alike",
        "CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
        "CREATE INDEX own ON p1 (id); CREATE INDEX whole ON p (id); CREATE INDEX second ON p1 (id)",
        "DROP TABLE p1;",
        "plan_refused",
        "might take it for the parent's",
    ),
    Refusal(
        "column of a partitioned table without a key",
        "CREATE TABLE p (id int, n int) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p DEFAULT",
        "ALTER TABLE p DROP COLUMN n;",
        "plan_refused",
        "table column public.p.n is of a partitioned table that has no primary key",
    ),
    Refusal(
        "column of a partitioned table, a domain",
        f"CREATE DOMAIN d AS int; {_PARTED} ALTER TABLE p ADD d d",
        "ALTER TABLE p DROP COLUMN d;",
        "plan_refused",
        "is of a domain and of a partitioned table",
    ),
    Refusal(
        "column with a sequence of a partition's own",
        f"{_PARTED} CREATE SEQUENCE s OWNED BY p1.n",
        "ALTER TABLE p DROP COLUMN n;",
        "plan_refused",
        'has a sequence of its own in partition "public"."p1"',
    ),
    Refusal(
        "column that a partition computes otherwise",
        f"{_PARTED} ALTER TABLE p ADD g int GENERATED ALWAYS AS (n * 2) STORED;"
        "ALTER TABLE ONLY p1 ALTER g SET EXPRESSION AS (n * 3)",
        "ALTER TABLE p DROP COLUMN g;",
        "plan_refused",
        'is generated by another expression in partition "public"."p1"',
        since=17,
    ),
    Refusal(
        "column of a key of a partitioned table",
        f"{_PARTED} ALTER TABLE p ADD UNIQUE (id, n)",
        "ALTER TABLE p DROP COLUMN n;",
        "plan_refused",
        "table constraint p_id_n_key on public.p is a key of a partitioned table",
    ),
    Refusal(
        "key of a partitioned table",
        _PARTED,
        "ALTER TABLE p DROP CONSTRAINT p_pkey;",
        "plan_refused",
        "table constraint p_pkey on public.p is a key of a partitioned table",
    ),
    Refusal(
        "column that a partition has from its table",
        _PARTED,
        "ALTER TABLE p1 DROP COLUMN n;",
        "plan_refused",
        "table column public.p1.n is what a partition has from its table; name that of the whole",
    ),
    Refusal(
        "index that a partition has from its table",
        f"{_PARTED} CREATE INDEX i ON p (n)",
        "DROP INDEX p1_n_idx;",
        "plan_refused",
        "index public.p1_n_idx is what a partition has from its table",
    ),
    Refusal(
        "check that a partition has from its table",
        f"{_PARTED} ALTER TABLE p ADD CONSTRAINT few CHECK (n < 5)",
        "ALTER TABLE p1 DROP CONSTRAINT few;",
        "plan_refused",
        "table constraint few on public.p1 is what a partition has from its table",
    ),
    Refusal(
        "trigger that a partition has from its table",
        f"{_NOTE}{_PARTED} CREATE TRIGGER whole AFTER INSERT ON p FOR EACH ROW EXECUTE FUNCTION note()",
        "DROP TRIGGER whole ON p1;",
        "plan_refused",
        "trigger whole on public.p1 is what a partition has from its table",
    ),
    Refusal(
        "index that is not in every partition",
        f"{_PARTED} CREATE INDEX i ON ONLY p (n)",
        "DROP INDEX i;",
        "plan_refused",
        "index public.i is not there in every partition of p",
    ),
    Refusal(
        "index of a partitioned table, and a partition has one alike",
        f"{_PARTED} CREATE INDEX i ON p (n); CREATE INDEX own ON p1 (n)",
        "DROP INDEX i;",
        "plan_refused",
        "index public.own is like public.p1_n_idx, and when public.i is made again",
    ),
    Refusal(
        "index of a partitioned table, CONCURRENTLY",
        f"{_PARTED} CREATE INDEX i ON p (n)",
        "DROP INDEX CONCURRENTLY i;",
        "plan_refused",
        "leave CONCURRENTLY out",
    ),
    Refusal(
        "index on a partitioned table, CONCURRENTLY",
        _PARTED,
        "CREATE INDEX CONCURRENTLY i ON p (n);",
        "plan_refused",
        "leave CONCURRENTLY out",
    ),
    Refusal(
        "NOT NULL that a partition calls otherwise",
        "CREATE TABLE p (id int, n int CONSTRAINT there NOT NULL) PARTITION BY LIST (id);"
        "CREATE TABLE p1 (id int, n int CONSTRAINT own NOT NULL); ALTER TABLE p ATTACH PARTITION p1 DEFAULT",
        "ALTER TABLE p DROP CONSTRAINT there;",
        "plan_refused",
        "is called own in partition public.p1",
        since=18,
    ),
    Refusal(
        "NOT NULL of a column that a partition calls otherwise",
        "CREATE TABLE p (id int, n int CONSTRAINT there NOT NULL) PARTITION BY LIST (id);"
        "CREATE TABLE p1 (id int, n int CONSTRAINT own NOT NULL); ALTER TABLE p ATTACH PARTITION p1 DEFAULT",
        "ALTER TABLE p ALTER COLUMN n DROP NOT NULL;",
        "plan_refused",
        "is called own in partition public.p1",
        since=18,
    ),
    Refusal(
        "column of a partition, by its type",
        "CREATE TYPE mood AS ENUM ('a'); CREATE TABLE p (id int PRIMARY KEY, m mood) PARTITION BY LIST (id);"
        "CREATE TABLE p1 PARTITION OF p DEFAULT",
        "DROP TYPE mood CASCADE;",
        "impact_not_accepted",
        "table column public.p.m",
    ),
    Refusal(
        "foreign table as a partition",
        "",
        "DROP TABLE p;",
        "plan_refused",
        "foreign table",
        admin="CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER s FOREIGN DATA WRAPPER nowhere;"
        "CREATE TABLE p (id int) PARTITION BY LIST (id); CREATE FOREIGN TABLE f PARTITION OF p DEFAULT SERVER s",
    ),
    Refusal(
        "column where a foreign table is a partition",
        "",
        "ALTER TABLE p DROP COLUMN n;",
        "plan_refused",
        "is of a table with foreign tables for partitions",
        admin="CREATE FOREIGN DATA WRAPPER nowhere; CREATE SERVER s FOREIGN DATA WRAPPER nowhere;"
        "CREATE TABLE p (id int, n int) PARTITION BY LIST (id); CREATE FOREIGN TABLE f PARTITION OF p DEFAULT SERVER s",
    ),
    # -- sequences and materialized views
    Refusal(
        "sequence behind a default, no CASCADE",
        "CREATE SEQUENCE s; CREATE TABLE t (id int DEFAULT nextval('s'))",
        "DROP SEQUENCE s;",
        "plan_refused",
        "default value for public.t.id depends on sequence public.s; say CASCADE",
    ),
    Refusal(
        "sequence of an identity",
        "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY)",
        "DROP SEQUENCE t_id_seq;",
        "plan_refused",
        "belongs to an identity column",
    ),
    Refusal(
        "child that has something from its parent alone",
        "CREATE TABLE p (a int); CREATE TABLE c () INHERITS (p)",
        "\nALTER TABLE c NO INHERIT p;",
        "plan_refused",
        "line 2: public.c has column a from its parent p alone",
    ),
    Refusal(
        "child of several parents",
        "CREATE TABLE p (a int); CREATE TABLE q (a int); CREATE TABLE c (a int);"
        "ALTER TABLE c INHERIT p; ALTER TABLE c INHERIT q",
        "ALTER TABLE c NO INHERIT p;",
        "plan_refused",
        "public.c has several parents, and their order could not be made again",
    ),
    Refusal(
        "partition detached that others refer to",
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
        "CREATE TABLE lines (o int REFERENCES p)",
        "ALTER TABLE p DETACH PARTITION p1;",
        "plan_refused",
        "of public.lines refers to p, so p1 cannot be detached without loss",
    ),
    Refusal(
        "attribute of a type that has values",
        "CREATE TYPE pair AS (a int, b int); CREATE DOMAIN pairs AS pair[];"
        "CREATE TABLE h (v pairs); CREATE TABLE typed OF pair; CREATE MATERIALIZED VIEW m AS SELECT (1, 2)::pair AS p",
        "ALTER TYPE pair DROP ATTRIBUTE a;",
        "plan_refused",
        "type public.pair has values in public.h.v, public.m.p, public.typed, and those of an attribute cannot be kept",
    ),
    Refusal(
        "attribute before one that a view uses",
        "CREATE TYPE pair AS (a int, b int); CREATE FUNCTION f() RETURNS pair LANGUAGE sql AS 'SELECT 1, 2';"
        "CREATE VIEW v AS SELECT (f()).b",
        "ALTER TYPE pair DROP ATTRIBUTE a;",
        "plan_refused",
        "uses attributes of type public.pair, which could not be put back in their order",
    ),
    Refusal("a table as a sequence", _ORDERS, "DROP SEQUENCE orders;", "plan_refused", "public.orders is a table"),
    Refusal(
        "a table as a materialized view", _ORDERS, "DROP MATERIALIZED VIEW orders;", "plan_refused", "orders is a table"
    ),
    Refusal(
        "identity with privileges that somebody else gave",
        "CREATE TABLE t (a int PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY);"
        "GRANT SELECT ON SEQUENCE t_n_seq TO stepback_app WITH GRANT OPTION",
        "ALTER TABLE t DROP n;",
        "plan_refused",
        "stepback_app, who does not own",
        admin="SET ROLE stepback_app; GRANT SELECT ON SEQUENCE t_n_seq TO PUBLIC",
    ),
    Refusal(
        "materialized view, no CASCADE",
        f"{_ORDERS} CREATE MATERIALIZED VIEW m AS SELECT id FROM orders",
        "DROP TABLE orders;",
        "plan_refused",
        "materialized view public.m depends on table public.orders; say CASCADE",
    ),
    Refusal(
        "materialized view, not accepted",
        f"{_ORDERS} CREATE MATERIALIZED VIEW m AS SELECT id FROM orders",
        "DROP TABLE orders CASCADE;",
        "impact_not_accepted",
        'accepts = ["materialized view public.m"]',
    ),
    Refusal(
        "materialized view on a column",
        f"{_ORDERS} CREATE MATERIALIZED VIEW m AS SELECT c FROM orders",
        "ALTER TABLE orders DROP c CASCADE;",
        "impact_not_accepted",
        'accepts = ["materialized view public.m"]',
    ),
    # -- domains and ranges
    Refusal(
        "an enum as a domain", "CREATE TYPE m AS ENUM ('a')", "DROP DOMAIN m;", "plan_refused", "is a type, but no"
    ),
    Refusal(
        "domain over a domain, not accepted",
        "CREATE DOMAIN a AS int; CREATE DOMAIN b AS a",
        "DROP DOMAIN a CASCADE;",
        "impact_not_accepted",
        'accepts = ["type public.b"]',
    ),
    Refusal(
        "domain that only demands a type",
        "CREATE TYPE mood AS ENUM ('a'); CREATE DOMAIN d AS text CHECK (VALUE::mood IS NOT NULL)",
        "DROP TYPE mood CASCADE;",
        "impact_not_accepted",
        "domain constraint d_check",
    ),
    Refusal(
        "range in a column",
        "CREATE TYPE r AS RANGE (subtype = int4); CREATE TABLE t (id int PRIMARY KEY, r r)",
        "DROP TYPE r CASCADE; ALTER TABLE t DROP r;",
        "plan_refused",
        "type public.r is used by column r of table public.t",
    ),
    Refusal(
        "multirange in a table that moves",
        "CREATE TYPE r AS RANGE (subtype = int4, multirange_type_name = rs); CREATE TABLE t (m rs[])",
        "DROP TABLE t; DROP TYPE r;",
        "plan_refused",
        "leave it in place",
    ),
    Refusal(
        "a multirange type",
        "CREATE TYPE r AS RANGE (subtype = int4, multirange_type_name = rs)",
        "DROP TYPE rs;",
        "plan_refused",
        "no enum, composite, range or domain",
    ),
    # -- schemas
    Refusal(
        "schema that is not empty, no CASCADE",
        "CREATE SCHEMA s; CREATE TABLE s.t ()",
        "DROP SCHEMA s;",
        "plan_refused",
        "table s.t depends on schema s; say CASCADE",
    ),
    Refusal(
        "schema with a column outside, not accepted",
        "CREATE SCHEMA s; CREATE DOMAIN s.d AS int; CREATE TABLE t (id int PRIMARY KEY, d s.d)",
        "DROP SCHEMA s CASCADE;",
        "impact_not_accepted",
        'accepts = ["table column public.t.d"]',
    ),
    Refusal(
        "schema with default privileges",
        "CREATE SCHEMA s; ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO PUBLIC",
        "DROP SCHEMA s CASCADE;",
        "impact_not_accepted",
        "default acl",
    ),
    Refusal(
        "schema with a collation",
        'CREATE SCHEMA s; CREATE COLLATION s.c FROM "C"',
        "DROP SCHEMA s CASCADE;",
        "impact_not_accepted",
        "collation s.c",
    ),
    Refusal("schema of the registry", "", "DROP SCHEMA public CASCADE;", "plan_refused", "to Stepback"),
    Refusal("schema of the list", "", "DROP SCHEMA emergency_backup CASCADE;", "plan_refused", "to Stepback"),
    Refusal("schema of the server", "", "DROP SCHEMA pg_catalog CASCADE;", "plan_refused", "to the server"),
    Refusal(
        "somebody else's schema",
        "",
        "DROP SCHEMA theirs;",
        "not_possible",
        "schema theirs belongs to postgres",
        admin="CREATE SCHEMA theirs",
    ),
    # -- what is nobody's to drop
    Refusal("the registry", "", "DROP TABLE migration_rollbacks CASCADE;", "plan_refused", "to Stepback"),
    Refusal("a column of the registry", "", "ALTER TABLE migration_rollbacks DROP run;", "plan_refused", "to Stepback"),
    Refusal("an index of the registry", "", "DROP INDEX migration_rollbacks_name_idx;", "plan_refused", "to Stepback"),
    Refusal("the monitor", "", "DROP TABLE rollback_status_monitor;", "plan_refused", "is a view"),
    Refusal("the fence", "", "DROP TABLE emergency_backup.fence;", "plan_refused", "to Stepback"),
    Refusal("the list", "", "DROP TABLE emergency_backup.preserved_objects;", "plan_refused", "to Stepback"),
    Refusal(
        "an index of the list",
        "",
        "DROP INDEX emergency_backup.preserved_objects_open_idx;",
        "plan_refused",
        "Stepback",
    ),
    Refusal(
        "the registry's trigger", "", "DROP FUNCTION migration_rollbacks_record_writer;", "plan_refused", "Stepback"
    ),
    Refusal("the monitor as a view", "", "DROP VIEW rollback_status_monitor;", "plan_refused", "to Stepback"),
    Refusal("a function of the server", "", "DROP FUNCTION pg_catalog.now();", "plan_refused", "to the server"),
    Refusal(
        "a constraint of the registry",
        "",
        "ALTER TABLE migration_rollbacks DROP CONSTRAINT migration_rollbacks_pkey;",
        "plan_refused",
        "to Stepback",
    ),
    Refusal(
        "a trigger of the registry",
        "",
        "DROP TRIGGER migration_rollbacks_record_writer ON migration_rollbacks;",
        "plan_refused",
        "to Stepback",
    ),
    Refusal("the registry renamed", "", "ALTER TABLE migration_rollbacks RENAME TO x;", "plan_refused", "to Stepback"),
    Refusal("rows of the registry", "", "\nDELETE FROM migration_rollbacks;", "plan_refused", "line 2: rows public.mi"),
    Refusal(
        "a comment on a catalog", "", "COMMENT ON TABLE pg_catalog.pg_class IS 'x';", "plan_refused", "to the server"
    ),
    Refusal("a catalog", "", "DROP TABLE pg_catalog.pg_class;", "plan_refused", "to the server"),
    Refusal(
        "a column of a catalog", "", "ALTER TABLE pg_catalog.pg_class DROP relname;", "plan_refused", "to the server"
    ),
    Refusal("a type of the server", "", "DROP TYPE pg_catalog.int4;", "plan_refused", "no enum, composite"),
    Refusal(
        "the standard's schema", "", "DROP TABLE information_schema.sql_features;", "plan_refused", "to the server"
    ),
    # -- rights
    Refusal(
        "somebody else's table",
        "",
        "DROP TABLE theirs;",
        "not_possible",
        "GRANT postgres TO stepback_worker",
        admin="CREATE TABLE theirs (id int)",
    ),
    Refusal(
        "somebody else's type",
        "",
        "DROP TYPE theirs;",
        "not_possible",
        "type public.theirs",
        admin="CREATE TYPE theirs AS ENUM ('a')",
    ),
    Refusal(
        "somebody else's view",
        "",
        "DROP VIEW theirs;",
        "not_possible",
        "view public.theirs belongs to postgres",
        admin="CREATE VIEW theirs AS SELECT 1",
    ),
    Refusal(
        "somebody else's function",
        "",
        "DROP FUNCTION theirs;",
        "not_possible",
        "routine public.theirs()",
        admin="CREATE FUNCTION theirs() RETURNS int RETURN 1",
    ),
    Refusal(
        "an owner who may make nothing there any more",
        "CREATE SCHEMA a; CREATE FUNCTION a.f() RETURNS int RETURN 1",
        "DROP FUNCTION a.f;",
        "not_possible",
        "GRANT CREATE ON SCHEMA a TO goodbuy_app first",
        admin="ALTER SCHEMA a OWNER TO postgres; GRANT USAGE ON SCHEMA a TO PUBLIC;"
        "REVOKE CREATE ON SCHEMA a FROM goodbuy_app",
    ),
    Refusal(
        "foreign key on somebody else's table",
        "",
        "DROP TABLE orders;",
        "not_possible",
        "table public.theirs",
        admin="CREATE TABLE theirs (id int PRIMARY KEY); CREATE TABLE orders (t int REFERENCES theirs);"
        "ALTER TABLE orders OWNER TO goodbuy_app",
    ),
    # -- what is not a plan
    Refusal("no statement", _ORDERS, "", "plan_refused", "holds no statement"),
    Refusal("comments only", _ORDERS, "-- DROP TABLE orders;\n/* nothing */", "plan_refused", "holds no statement"),
    Refusal(
        "no SQL", _ORDERS, "DROP TABLE orders;\nREMOVE it;", "plan_refused", "line 2: rollback.sql is not valid SQL"
    ),
    Refusal("an open quote", _ORDERS, "DROP TABLE orders; DROP TABLE 'x", "plan_refused", "not valid SQL"),
    Refusal(
        "NUL", _ORDERS, "DROP TABLE orders;\n\x00DROP TABLE x;", "plan_refused", "line 2: rollback.sql holds a NUL"
    ),
    Refusal("too large", _ORDERS, "DROP TABLE orders;" + " " * MAX_SCRIPT_BYTES, "plan_refused", "larger than 1 MiB"),
    Refusal(
        "psql",
        _ORDERS,
        "\\set x 1\nDROP TABLE orders;",
        "plan_refused",
        "line 1: rollback.sql holds a psql meta-command",
    ),
    Refusal("psql in the middle", _ORDERS, "DROP TABLE orders;\n\\! id\n", "plan_refused", "psql meta-command"),
    Refusal("COMMIT in the middle", _ORDERS, "DROP TABLE orders; COMMIT; DROP TABLE x;", "plan_refused", "COMMIT"),
    Refusal("two transactions", _ORDERS, "BEGIN; DROP TABLE orders; COMMIT; BEGIN; COMMIT;", "plan_refused", "line 1"),
    Refusal("COMMIT AND CHAIN", _ORDERS, "BEGIN; DROP TABLE orders; COMMIT AND CHAIN;", "plan_refused", "transaction"),
    Refusal("ROLLBACK", _ORDERS, "BEGIN; DROP TABLE orders; ROLLBACK;", "plan_refused", "transaction control"),
    Refusal("SET ROLE", _ORDERS, "SET ROLE postgres; DROP TABLE orders;", "plan_refused", "would change who"),
    Refusal("search_path", _ORDERS, "SET search_path = x; DROP TABLE orders;", "nothing_to_roll_back", "table orders"),
    Refusal("another zone", _ORDERS, "SET timezone = 'Asia/Tokyo'; DROP TABLE orders;", "plan_refused", "anything but"),
    Refusal("LOCK of nothing", _ORDERS, "LOCK TABLE gone; DROP TABLE orders;", "plan_refused", "table gone does not"),
    Refusal(
        "COPY PROGRAM", _ORDERS, "COPY orders TO PROGRAM 'id'; DROP TABLE orders;", "plan_refused", "past every check"
    ),
    Refusal(
        "ALTER SYSTEM", _ORDERS, "ALTER SYSTEM SET fsync = off; DROP TABLE orders;", "plan_refused", "whole server"
    ),
    Refusal(
        "DELETE from nothing", _ORDERS, "DROP TABLE orders;\nDELETE FROM gone;", "plan_refused", "line 2: table gone"
    ),
    Refusal("ALTER of nothing", _ORDERS, "ALTER TABLE gone RENAME TO here;", "plan_refused", "table gone does not"),
    Refusal("a temporary table", _ORDERS, "CREATE TEMP TABLE x (); DROP TABLE orders;", "plan_refused", "temporary"),
    Refusal(
        "GRANT of a role", _ORDERS, "GRANT pg_monitor TO goodbuy_app;", "plan_refused", "roles belong to the whole"
    ),
    Refusal(
        "another ALTER TABLE",
        _ORDERS,
        "ALTER TABLE orders DROP c, SET TABLESPACE pg_default;",
        "plan_refused",
        "SET TABLESPACE is refused: the server copies all files under the lock",
    ),
    Refusal("another database", _ORDERS, "DROP TABLE elsewhere.public.orders;", "plan_refused", "database in front"),
    Refusal("nothing to remove", _ORDERS, "ANALYZE orders;", "plan_refused", "changes nothing"),
]


def assert_refused(engine: Engine, run: Run, code: str, says: str = "") -> None:
    """See that a run was refused with a code and words, that the audit log says so, and that nothing is left over."""
    assert run.state is State.REFUSED, ended(run)
    assert run.error is not None
    assert run.error.code == code, ended(run)
    assert says in run.error.message
    last = engine.events(run)[-1]
    assert (last.type, last.outcome) == ("run_refused", "refused")
    assert last.detail["error"] == {"code": code, "message": run.error.message}
    left = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r%'"
    assert engine.query(left) == []
    assert engine.query("SELECT FROM emergency_backup.preserved_objects") == []


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.name)
def test_plan_is_refused_and_nothing_is_touched(engine: Engine, case: Refusal) -> None:
    """A plan that cannot be made safe ends in its code and a message that says where, and the target is as it was."""
    if engine.postgres.version < case.since:
        pytest.skip(f"PostgreSQL {engine.postgres.version} does not know what this asks for")
    engine.owner(case.given)
    engine.admin(case.admin)
    engine.plan(case.plan)
    before = engine.fingerprint()

    refused = engine.rollback()

    assert_refused(engine, refused, case.code, case.says)
    assert engine.registry() == []
    assert engine.fingerprint() == before


def test_temporary_table_is_nobodys_to_drop(engine: Engine) -> None:
    """A name that only a temporary table of another session has is no object of the plan."""
    engine.plan("DROP TABLE passing;")
    with engine.connect("goodbuy_app") as other:
        other.execute("CREATE TEMP TABLE passing (id int)")
        schema = other.execute("SELECT pg_my_temp_schema()::regnamespace::text AS name").fetchone()
        assert schema is not None

        unqualified = engine.rollback()
        engine.plan(f"DROP TABLE {schema['name']}.passing;")
        qualified = engine.rollback()

        assert other.execute("SELECT count(*) AS n FROM passing").fetchone() == {"n": 0}
    assert_refused(engine, unqualified, "nothing_to_roll_back", "table passing")
    assert_refused(engine, qualified, "plan_refused", "is temporary")


def test_quarantine_of_an_earlier_run_is_nobodys_to_drop(engine: Engine) -> None:
    """What a run preserved cannot be named by another plan."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;")
    (kept,) = engine.kept(completed(engine.rollback()))
    engine.plan(f"DROP TABLE {kept.inside} CASCADE;", migration="second")

    refused = engine.rollback("second")

    assert ended(refused).startswith("refused: plan_refused: ")
    assert "belongs to the server or to Stepback" in ended(refused)
    assert len(engine.query(f"SELECT FROM {kept.inside}")) == 1


# -- where the plan comes from


def test_unknown_migration(engine: Engine) -> None:
    """A name without folder and row is unknown."""
    assert_refused(engine, engine.rollback("never_heard"), "unknown_migration", "never_heard")


def test_unknown_target(engine: Engine) -> None:
    """A target that this worker does not have is refused."""
    assert_refused(engine, engine.rollback(target="elsewhere"), "unknown_target", "elsewhere")


@pytest.mark.parametrize("name", ["../../etc", "a/b", ".", "a\nb", "postgresql://h/d"])
def test_name_that_cannot_be_one(engine: Engine, name: str) -> None:
    """A path or worse never reaches the file system, even if it got past the door."""
    assert_refused(engine, engine.rollback(name), "bad_name")


def test_expired_command(engine: Engine) -> None:
    """A command whose time has passed is not begun."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;")
    before = engine.fingerprint()

    refused = engine.rollback(not_after=datetime.now(UTC) - timedelta(seconds=1))

    assert_refused(engine, refused, "expired")
    assert engine.registry() == []
    assert engine.fingerprint() == before


@pytest.mark.parametrize("file", ["rollback.sql", "plan.toml", "verify.sql"])
def test_plan_changed_since_it_was_registered(engine: Engine, file: str) -> None:
    """Any pinned file that changed after registration stops the plan."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;", verify="SELECT true;", accepts=["table column public.x.y"])
    completed(engine.rollback())
    completed(engine.recover(1))
    before = engine.fingerprint()

    path = engine.plans / "m" / file
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    refused = engine.rollback()

    assert ended(refused).startswith("refused: plan_changed: ")
    assert engine.registry() == ["recovered"]
    assert engine.fingerprint() == before


def test_plan_other_than_the_one_pinned_at_submit(engine: Engine) -> None:
    """A plan that is not the one that was asked for is refused, folder or bare row."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;")
    engine.row("DROP TABLE orders;", migration="bare")

    assert_refused(engine, engine.rollback(plan_sha256="0" * 64), "plan_changed")
    assert_refused(engine, engine.rollback("bare", plan_sha256="0" * 64), "plan_changed")


def test_plan_registered_from_a_folder_that_is_not_here(engine: Engine) -> None:
    """A row that pins a folder is no bare plan, even where the folder is missing."""
    engine.owner(_ORDERS)
    engine.admin(
        "INSERT INTO migration_rollbacks (migration_name, rollback_sql, plan_sha256)"
        " VALUES ('m', 'DROP TABLE orders', 'x')"
    )

    assert_refused(engine, engine.rollback(), "plan_changed", "a folder that this host does not have")


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("plan.toml", b"accepts = [", "not valid TOML"),
        ("plan.toml", b"unknown = 1", "unknown"),
        ("plan.toml", b"accepts = 'orders'", "accepts"),
        ("plan.toml", b"\xff", "not UTF-8"),
        ("rollback.sql", b"DROP TABLE orders; -- \xff", "not UTF-8"),
        ("verify.sql", b"", "holds no statement"),
        ("verify.sql", b"SELECT true; SELEC", "not valid SQL"),
        ("verify.sql", b"SELECT true;\nCOMMIT;", "line 2: verify.sql"),
        ("verify.sql", b"UPDATE orders SET c = 2", "a gate is a SELECT"),
        ("verify.sql", b"DO $$BEGIN COMMIT; END$$", "a gate is a SELECT"),
        ("verify.sql", b"CALL p()", "a gate is a SELECT"),
        ("verify.sql", b"SET ROLE postgres", "a gate is a SELECT"),
    ],
)
def test_file_of_a_plan_that_cannot_be_used(engine: Engine, file: str, text: bytes, says: str) -> None:
    """A broken file is found before anything is touched, gates included."""
    engine.owner(_ORDERS)
    engine.plan("DROP TABLE orders;")
    (engine.plans / "m" / file).write_bytes(text)
    before = engine.fingerprint()

    refused = engine.rollback()

    assert_refused(engine, refused, "plan_refused", says)
    assert engine.fingerprint() == before


# -- bare rows, and who wrote them

_LET_IN = (
    "GRANT INSERT, SELECT, UPDATE ON migration_rollbacks TO stepback_app;"
    "GRANT USAGE ON migration_rollbacks_id_seq TO stepback_app"
)


def test_bare_row_of_the_owner_is_a_plan(engine: Engine) -> None:
    """The document's INSERT alone is a plan, if its writer may drop what it names."""
    engine.owner(_ORDERS)
    engine.row("DROP TABLE IF EXISTS orders CASCADE;")

    completed(engine.rollback())

    assert engine.registry() == ["completed"]


@pytest.mark.parametrize(
    "plan",
    [
        "DROP TABLE orders;",
        "DROP INDEX by_c;",
        "ALTER TABLE orders DROP c;",
        "DROP TYPE mood;",
        "DROP VIEW v;",
        "DROP FUNCTION twice;",
        "ALTER TABLE orders DROP CONSTRAINT orders_pkey;",
    ],
)
def test_bare_row_of_a_role_without_rights(engine: Engine, plan: str) -> None:
    """Who may write a row may not thereby have dropped what is another's."""
    engine.owner(f"{_ORDERS} CREATE INDEX by_c ON orders (c); CREATE TYPE mood AS ENUM ('a')")
    engine.owner(f"CREATE VIEW v AS SELECT 1; {_TWICE}")
    engine.admin(_LET_IN)
    engine.row(plan, role="stepback_app")
    before = engine.fingerprint()

    refused = engine.rollback()

    assert_refused(engine, refused, "not_allowed", "role stepback_app, who wrote this plan, may not drop")
    assert engine.registry() == ["pending"]
    assert engine.fingerprint() == before


def test_writer_cannot_pass_for_another(engine: Engine) -> None:
    """What a writer puts into recorded_by is replaced by who the database knows it is."""
    engine.owner(_ORDERS)
    engine.admin(_LET_IN)
    engine.row("DROP TABLE orders;", role="stepback_app", recorded_by="goodbuy_app")

    assert_refused(engine, engine.rollback(), "not_allowed", "stepback_app")


@pytest.mark.parametrize(
    "change",
    ["rollback_sql = 'DROP TABLE orders;'", "rollback_sql = 'DROP TABLE orders;', recorded_by = 'goodbuy_app'"],
)
def test_whoever_changes_a_row_answers_for_it(engine: Engine, change: str) -> None:
    """A plan belongs to the role that wrote its text last."""
    engine.owner(_ORDERS)
    engine.admin(_LET_IN)
    engine.row("DROP TABLE IF EXISTS nothing;")
    engine.run_sql("stepback_app", f"UPDATE migration_rollbacks SET {change}")

    assert_refused(engine, engine.rollback(), "not_allowed", "stepback_app")


def test_recorded_writer_cannot_be_changed_alone(engine: Engine) -> None:
    """Setting recorded_by later, without the text, changes nothing."""
    engine.owner(_ORDERS)
    engine.admin(_LET_IN)
    engine.row("DROP TABLE orders;", role="stepback_app")
    engine.run_sql("stepback_app", "UPDATE migration_rollbacks SET recorded_by = 'goodbuy_app'")

    assert_refused(engine, engine.rollback(), "not_allowed", "stepback_app")


def test_bare_row_of_a_role_that_is_gone(engine: Engine) -> None:
    """A writer that does not exist any more can drop nothing."""
    engine.owner(_ORDERS)
    engine.row("DROP TABLE orders;")
    engine.admin(
        "ALTER TABLE migration_rollbacks DISABLE TRIGGER ALL; UPDATE migration_rollbacks SET recorded_by = 'left_us';"
        "ALTER TABLE migration_rollbacks ENABLE ALWAYS TRIGGER migration_rollbacks_record_writer"
    )

    assert_refused(engine, engine.rollback(), "not_allowed", "left_us does not exist any more")


def test_bare_row_written_before_stepback_came(
    postgres: Postgres, ledger_engine: sqlalchemy.Engine, empty_target_database: str, tmp_path: Path
) -> None:
    """Nobody knows who wrote a row of the document's own registry: it is kept, and refused until written again."""
    engine = Engine(postgres, ledger_engine, empty_target_database, tmp_path)
    engine.owner(
        f"{_ORDERS} CREATE TABLE migration_rollbacks (id SERIAL PRIMARY KEY, migration_name VARCHAR(255) NOT NULL,"
        " applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, rollback_sql TEXT NOT NULL, rollback_applied_at TIMESTAMP,"
        " rollback_status VARCHAR(50) DEFAULT 'pending', rollback_notes TEXT,"
        " created_by VARCHAR(100) DEFAULT current_user)"
    )
    engine.row("DROP TABLE orders;")
    engine.install()

    refused = engine.rollback()
    engine.row("DROP TABLE orders;")
    rolled_back = engine.rollback()
    engine.close()

    assert ended(refused).startswith("refused: not_allowed: ")
    assert "before Stepback was installed" in ended(refused)
    completed(rolled_back)


def test_newest_row_that_is_not_completed_is_meant(engine: Engine) -> None:
    """Of several rows for one name the newest that is not completed is the plan."""
    engine.owner(f"{_ORDERS} CREATE TABLE users (id int); CREATE TABLE shops (id int)")
    engine.row("DROP TABLE shops;")
    engine.row("DROP TABLE orders;")
    engine.row("DROP TABLE users;")
    engine.admin(
        "UPDATE migration_rollbacks SET rollback_status = 'completed' WHERE rollback_sql = 'DROP TABLE users;'"
    )

    completed(engine.rollback())

    assert engine.registry() == ["pending", "completed", "completed"]
    assert engine.query("SELECT to_regclass('orders') AS orders, to_regclass('users')::text AS users") == [
        {"orders": None, "users": "users"}
    ]
