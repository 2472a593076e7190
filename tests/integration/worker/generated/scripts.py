"""Down scripts, made up over a schema: what they take away, change and make, in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from hypothesis import strategies as st

from tests.integration.worker.generated import schemas
from tests.integration.worker.generated.model import Column, Example, Name, Schema, Table, ident

_T = TypeVar("_T")


class Writing:
    """Draws one statement after the other, each over what those before it have left."""

    def __init__(self, draw: st.DrawFn, schema: Schema) -> None:
        self.draw = draw
        self.schema = schema
        self.statements: list[str] = []

    def one(self, of: list[_T] | tuple[_T, ...]) -> _T:
        """Choose one."""
        return self.draw(st.sampled_from(of))

    def yes(self) -> bool:
        """Toss a coin; falls on no where it shrinks."""
        return self.draw(st.booleans())

    def say(self, statement: str) -> None:
        """Add a statement."""
        self.statements.append(statement)

    def cascade(self) -> str:
        """Say CASCADE, as most down scripts do."""
        return self.one([" CASCADE", " CASCADE", ""])

    def new(self, stem: str) -> Name:
        """Make a name that nothing has."""
        return Name(self.one(self.schema.homes), f"{stem} new {len(self.statements)}")

    def table(self) -> Table | None:
        """Choose a table."""
        return self.one(self.schema.tables) if self.schema.tables else None

    def column(self, table: Table) -> Column:
        """Choose a column, mostly none of the key."""
        return self.one(table.others or table.columns)

    # -- removing ---------------------------------------------------------------

    def drop_table(self) -> None:
        """DROP TABLE, of one or two."""
        if not self.schema.tables:
            return
        tables = self.draw(
            st.lists(st.sampled_from(range(len(self.schema.tables))), min_size=1, max_size=2, unique=True)
        )
        gone = [self.schema.tables[number] for number in tables]
        self.say(f"DROP TABLE {self.one(['', 'IF EXISTS '])}{', '.join(str(t.name) for t in gone)}{self.cascade()}")
        self.schema.tables = [table for table in self.schema.tables if table not in gone]
        parts, ends = self.schema.parts, tuple(f" ON {table.name}" for table in gone)
        for hanging in (parts.triggers, parts.policies, parts.rules):
            hanging[:] = [part for part in hanging if not part.endswith(ends)]
        parts.constraints = [pair for pair in parts.constraints if pair[0] not in gone]

    def drop_heir(self) -> None:
        """DROP TABLE of a partition or a child."""
        tables = [table for table in self.schema.tables if table.heirs]
        if tables:
            table = self.one(tables)
            self.say(f"DROP TABLE {table.heirs[-1]}{self.cascade()}")
            table.heirs = table.heirs[:-1]

    def drop_other(self) -> None:
        """DROP of what has a name of its own, or belongs to a table."""
        parts = self.schema.parts
        kinds: list[tuple[str, list[Name] | list[str]]] = [
            ("VIEW", parts.views),
            ("MATERIALIZED VIEW", parts.matviews),
            ("SEQUENCE", parts.sequences),
            ("TYPE", parts.enums),
            ("DOMAIN", parts.domains),
            ("TYPE", parts.composites),
            ("INDEX", parts.indexes),
            ("STATISTICS", parts.statistics),
            ("FUNCTION", parts.functions),
            ("TRIGGER", parts.triggers),
            ("POLICY", parts.policies),
            ("RULE", parts.rules),
        ]
        there = [(word, names) for word, names in kinds if names]
        if there:
            word, names = self.one(there)
            number = self.draw(st.integers(0, len(names) - 1))
            self.say(f"DROP {word} {self.one(['', 'IF EXISTS '])}{names.pop(number)}{self.cascade()}")

    def drop_column(self) -> None:
        """ALTER TABLE … DROP COLUMN."""
        table = self.table()
        if table and len(table.columns) > 1:
            column = self.one(table.columns[1:])
            table.columns.remove(column)
            self.say(f"ALTER TABLE {table.name} DROP COLUMN {self.one(['', 'IF EXISTS '])}{column}{self.cascade()}")

    def drop_constraint(self) -> None:
        """ALTER TABLE … DROP CONSTRAINT."""
        if self.schema.parts.constraints:
            number = self.draw(st.integers(0, len(self.schema.parts.constraints) - 1))
            table, name = self.schema.parts.constraints.pop(number)
            self.say(f"ALTER TABLE {table.name} DROP CONSTRAINT {ident(name)}{self.cascade()}")

    def drop_schema(self) -> None:
        """DROP SCHEMA … CASCADE."""
        if len(self.schema.homes) > 1:
            gone = self.schema.homes.pop()
            self.say(f"DROP SCHEMA {ident(gone)} CASCADE")
            self.schema.tables = [table for table in self.schema.tables if table.name.schema != gone]
            parts = self.schema.parts
            for names in (parts.views, parts.matviews, parts.sequences, parts.enums, parts.domains, parts.composites):
                names[:] = [name for name in names if name.schema != gone]

    # -- changing ---------------------------------------------------------------

    def alter_column(self) -> None:
        """ALTER COLUMN: type, default, NOT NULL."""
        table = self.table()
        if table:
            column = self.column(table)
            what = self.one(
                [
                    "TYPE text",
                    f"TYPE text USING {column}::text || '!'",
                    "SET DEFAULT NULL",
                    "DROP DEFAULT",
                    "SET NOT NULL",
                    "DROP NOT NULL",
                    "SET STATISTICS 10",
                ]
            )
            self.say(f"ALTER TABLE {table.name} ALTER COLUMN {column} {what}")

    def rename(self) -> None:
        """RENAME of a table, a column, a constraint or another object."""
        table = self.table()
        if not table:
            return
        new = self.new("Name")
        what = self.draw(st.integers(0, 3))
        if what == 0:
            self.say(f"ALTER TABLE {table.name} RENAME TO {new.own}")
            renamed = Name(table.name.schema, new.name)
            for hanging in (self.schema.parts.triggers, self.schema.parts.policies, self.schema.parts.rules):
                hanging[:] = [part.replace(f" ON {table.name}", f" ON {renamed}") for part in hanging]
            table.name = renamed
        elif what == 1:
            column = self.column(table)
            self.say(f"ALTER TABLE {table.name} RENAME COLUMN {column} TO {new.own}")
            place = table.columns.index(column)
            table.columns[place] = Column(new.name, column.type, column.value, column.key)
        elif what == 2 and self.schema.parts.constraints:
            of, name = self.schema.parts.constraints.pop()
            self.say(f"ALTER TABLE {of.name} RENAME CONSTRAINT {ident(name)} TO {new.own}")
        else:
            parts = self.schema.parts
            kinds = [
                ("VIEW", parts.views),
                ("SEQUENCE", parts.sequences),
                ("TYPE", parts.enums),
                ("INDEX", parts.indexes),
                ("DOMAIN", parts.domains),
                ("MATERIALIZED VIEW", parts.matviews),
            ]
            there = [(word, names) for word, names in kinds if names]
            if there:
                word, names = self.one(there)
                old = names[-1]
                names[-1] = Name(old.schema, new.name)
                self.say(f"ALTER {word} {old} RENAME TO {new.own}")

    def add(self) -> None:
        """ALTER TABLE … ADD: a column, a constraint."""
        table = self.table()
        if not table:
            return
        name, column = self.new("Added"), table.columns[0]
        what = self.one([
            f"ADD COLUMN {name.own} integer DEFAULT 5",
            f"ADD COLUMN {name.own} text NOT NULL DEFAULT 'x' CHECK ({name.own} <> '')",
            f"ADD COLUMN {name.own} serial",
            f"ADD COLUMN {name.own} timestamptz DEFAULT now(), ADD CONSTRAINT {ident('c' + name.name)} CHECK ({column} IS NOT NULL)",
            f"ADD CONSTRAINT {name.own} UNIQUE ({column})",
            f"ADD CONSTRAINT {name.own} CHECK ({column} IS NOT NULL) NOT VALID",
        ])  # fmt: skip
        self.say(f"ALTER TABLE {table.name} {what}")

    def set_table(self) -> None:
        """ALTER TABLE of what is no column."""
        table = self.table()
        if table:
            parts = self.schema.parts
            own = [
                part.removesuffix(f" ON {table.name}") for part in parts.triggers if part.endswith(f" ON {table.name}")
            ]
            what = [
                "ENABLE ROW LEVEL SECURITY",
                "DISABLE ROW LEVEL SECURITY",
                "DISABLE TRIGGER USER",
                "REPLICA IDENTITY FULL",
                "OWNER TO goodbuy_app",
            ]
            what += [f"DISABLE TRIGGER {name}" for name in own]
            self.say(f"ALTER TABLE {table.name} {self.one(what)}")

    def set_schema(self) -> None:
        """ALTER … SET SCHEMA."""
        table = self.table()
        if table and len(self.schema.homes) > 1:
            home = self.one(self.schema.homes)
            self.say(f"ALTER TABLE {table.name} SET SCHEMA {ident(home)}")
            table.name = Name(home, table.name.name)

    def alter_type(self) -> None:
        """ALTER TYPE of an enum, or ALTER DOMAIN."""
        parts = self.schema.parts
        if parts.enums:
            self.say(f"ALTER TYPE {self.one(parts.enums)} RENAME VALUE 'low' TO 'lower {len(self.statements)}'")
        elif parts.domains:
            self.say(
                f"ALTER DOMAIN {self.one(parts.domains)} {self.one(['SET DEFAULT 3', 'SET NOT NULL', 'DROP CONSTRAINT above'])}"
            )

    def say_about(self) -> None:
        """COMMENT, GRANT, REVOKE."""
        table = self.table()
        if table:
            column = table.columns[-1]
            self.say(self.one([
                f"COMMENT ON TABLE {table.name} IS NULL",
                f"COMMENT ON COLUMN {table.name}.{column} IS 'new'",
                f"REVOKE ALL ON {table.name} FROM PUBLIC",
                f"GRANT SELECT, UPDATE ({column}) ON {table.name} TO stepback_app",
            ]))  # fmt: skip

    # -- making -----------------------------------------------------------------

    def create(self) -> None:
        """CREATE of something new, perhaps over what is there."""
        table, name = self.table(), self.new("Made")
        choices = [
            f"CREATE TABLE {name} (id serial PRIMARY KEY, note text CHECK (note <> ''))",
            f"CREATE TYPE {name} AS ENUM ('x', 'y')",
            f"CREATE SEQUENCE {name}",
            f"CREATE FUNCTION {name}(a integer, b text DEFAULT 'x') RETURNS integer LANGUAGE sql RETURN a + 1",
        ]
        if table:
            choices += [
                f"CREATE TABLE {name} AS SELECT {table.columns[0]} FROM {table.name}",
                f"CREATE VIEW {name} AS SELECT * FROM {table.name}",
                f"CREATE MATERIALIZED VIEW {name} AS SELECT {table.columns[-1]} FROM {table.name}",
                f"CREATE INDEX {name.own} ON {table.name} ({table.columns[0]})",
                f"CREATE TABLE {name} (LIKE {table.name} INCLUDING ALL)",
            ]
        self.say(self.one(choices))

    def replace(self) -> None:
        """CREATE OR REPLACE of a function that is there."""
        ours = [name for name in self.schema.parts.functions if name.endswith("(integer)")]
        if ours:
            name = self.one(ours).removesuffix("(integer)")
            self.say(
                f"CREATE OR REPLACE FUNCTION {name}(n integer) RETURNS integer LANGUAGE sql STABLE AS 'SELECT n + 1'"
            )

    # -- rows -------------------------------------------------------------------

    def rows(self) -> None:
        """INSERT, UPDATE, DELETE, TRUNCATE, plain or in a DO block."""
        table = self.table()
        if not table:
            return
        first, last = table.columns[0], table.columns[-1]
        given = [column for column in table.columns if column.value is not None]
        choices = [
            f"DELETE FROM {table.name}",
            f"DELETE FROM {table.name} WHERE {first} = {first} AND ctid = '(0,2)'",
            f"UPDATE {table.name} SET {last} = {last if last.value is None else last.value.replace('n', '4') if last.type == 'integer' else 'DEFAULT'}",
            f"UPDATE {table.name} SET {last} = DEFAULT WHERE {first} = {first}",
            f"TRUNCATE {table.name}",
            f"TRUNCATE {table.name} RESTART IDENTITY",
        ]
        if given:
            names, values = ", ".join(map(str, given)), ", ".join(column.value or "" for column in given)
            choices.append(f"INSERT INTO {table.name} ({names}) SELECT {values} FROM generate_series(11, 12) AS n")
        statement = self.one(choices)
        self.say(f"DO $do$ BEGIN {statement}; END $do$" if self.draw(st.integers(0, 4)) == 4 else statement)

    def call(self) -> None:
        """SELECT of setval or nextval."""
        if self.schema.parts.sequences:
            name = self.one(self.schema.parts.sequences)
            self.say(
                self.one(
                    [
                        f"SELECT setval('{name}', 55)",
                        f"SELECT nextval('{name}')",
                        f"ALTER SEQUENCE {name} RESTART WITH 3",
                    ]
                )
            )


_MENU: Final[tuple[Callable[[Writing], None], ...]] = (
    Writing.drop_table,
    Writing.drop_column,
    Writing.drop_other,
    Writing.drop_other,
    Writing.drop_constraint,
    Writing.drop_heir,
    Writing.drop_schema,
    Writing.alter_column,
    Writing.rename,
    Writing.add,
    Writing.set_table,
    Writing.set_schema,
    Writing.alter_type,
    Writing.say_about,
    Writing.create,
    Writing.replace,
    Writing.rows,
    Writing.rows,
    Writing.call,
)


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Make up a schema with rows, and a script over it."""
    schema = schemas.make(draw)
    given = tuple(schema.statements)
    writing = Writing(draw, schema)
    for step in draw(st.lists(st.sampled_from(_MENU), min_size=1, max_size=5)):
        step(writing)
    if not writing.statements:
        writing.drop_table()
    return Example(given, tuple(writing.statements))
