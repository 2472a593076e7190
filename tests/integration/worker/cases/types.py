"""Round trips of DROP TYPE: types move, and columns of survivors that use them are copied where the plan accepts it."""

from __future__ import annotations

from tests.integration.worker.cases.case import Case

TYPES = (
    Case(
        "enum",
        "CREATE TYPE mood AS ENUM ('sad', 'o''k', 'happy'); COMMENT ON TYPE mood IS 'a mood'",
        "DROP TYPE mood;",
        keeps=("moved type public.mood",),
    ),
    Case(
        "enum with labels added later, and grants",
        "CREATE TYPE mood AS ENUM ('b', 'd'); ALTER TYPE mood ADD VALUE 'a' BEFORE 'b'; ALTER TYPE mood ADD VALUE 'c' BEFORE 'd';"
        "GRANT USAGE ON TYPE mood TO stepback_app; REVOKE USAGE ON TYPE mood FROM PUBLIC",
        "DROP TYPE mood;",
        keeps=("moved type public.mood",),
    ),
    Case(
        "composite",
        "CREATE TYPE address AS (street text COLLATE \"C\", zip varchar(10)); COMMENT ON TYPE address IS 'where';"
        "COMMENT ON COLUMN address.zip IS 'code'",
        "DROP TYPE address;",
        keeps=("moved type public.address",),
    ),
    Case(
        "several, one absent, one in another schema",
        "CREATE SCHEMA a; CREATE TYPE a.mood AS ENUM ('x'); CREATE TYPE \"Mo od\" AS ENUM ('y'); CREATE TYPE mood AS ENUM ('z')",
        'DROP TYPE IF EXISTS a.mood, "Mo od", never_there CASCADE;',
        keeps=(
            "moved type a.mood",
            'moved type public."Mo od"',
        ),
    ),
    Case(
        "composite that holds an enum of the plan",
        "CREATE TYPE mood AS ENUM ('x'); CREATE TYPE pair AS (a mood, b mood[])",
        "DROP TYPE pair; DROP TYPE mood CASCADE;",
        keeps=(
            "moved type public.mood",
            "moved type public.pair",
        ),
    ),
    Case(
        "used by a survivor's column, with default and index",
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE people (id int PRIMARY KEY, mood mood NOT NULL DEFAULT 'ok', n int);"
        "CREATE INDEX by_mood ON people (mood, n); COMMENT ON COLUMN people.mood IS 'how they feel';"
        "INSERT INTO people VALUES (1, 'sad', 1), (2, 'ok', 2)",
        "DROP TYPE mood CASCADE;",
        accepts=("table column public.people.mood",),
        keeps=(
            "copied table column public.people.mood",
            "defined default value for public.people.mood",
            "defined index public.by_mood",
            "moved type public.mood",
        ),
        keeps_18=("defined table constraint people_mood_not_null on public.people",),
    ),
    Case(
        "used by a survivor's array",
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE people (id int PRIMARY KEY, moods mood[] DEFAULT '{ok}');"
        "INSERT INTO people VALUES (1, '{sad,ok}'), (2, NULL), (3, '{}')",
        "DROP TYPE mood CASCADE;",
        accepts=("table column public.people.moods",),
        keeps=(
            "copied table column public.people.moods",
            "defined default value for public.people.moods",
            "moved type public.mood",
        ),
    ),
    Case(
        "composite used by a survivor",
        "CREATE TYPE address AS (street text, zip int); CREATE TABLE people (id int PRIMARY KEY, home address, past address[]);"
        "INSERT INTO people VALUES (1, ROW('Main', 5), ARRAY[ROW('A', 1), ROW(NULL, NULL)]::address[]), (2, NULL, NULL)",
        "DROP TYPE address CASCADE;",
        accepts=("table column public.people.home", "table column public.people.past"),
        keeps=(
            "copied table column public.people.home",
            "copied table column public.people.past",
            "moved type public.address",
        ),
    ),
    Case(
        "used only in a survivor's constraint, default and index",
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE people (id int PRIMARY KEY, t text DEFAULT ('ok'::mood)::text,"
        " CONSTRAINT known CHECK (t::mood >= 'sad'::mood)); CREATE INDEX oks ON people ((CASE WHEN id > 0 THEN 'ok'::mood END));"
        "INSERT INTO people VALUES (1, 'sad')",
        "DROP TYPE mood CASCADE;",
        leaves=("people | t", "t text"),
        keeps=(
            "defined default value for public.people.t",
            "defined index public.oks",
            "defined table constraint known on public.people",
            "moved type public.mood",
        ),
    ),
    Case(
        "with the column that uses it, both named",
        "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE TABLE people (id int PRIMARY KEY, mood mood); INSERT INTO people VALUES (1, 'ok')",
        "DROP TYPE mood; ALTER TABLE people DROP COLUMN mood;",
        keeps=(
            "copied table column public.people.mood",
            "moved type public.mood",
        ),
    ),
)
