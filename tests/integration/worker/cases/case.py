"""One case of a round trip: what stands there, what the plan says, what must be kept."""

from __future__ import annotations

from dataclasses import dataclass

#: Stands beside every case and must not notice anything.
BYSTANDERS = """
CREATE TYPE bystander_kind AS ENUM ('calm', 'loud');
CREATE FUNCTION bystander_touch() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN NEW.note := coalesce(NEW.note, 'touched'); RETURN NEW; END$$;
CREATE TABLE bystander (
    id     serial PRIMARY KEY,
    parent int REFERENCES bystander,
    kind   bystander_kind DEFAULT 'calm',
    note   text CHECK (note <> '')
);
COMMENT ON TABLE bystander IS 'Mind your own business';
CREATE INDEX bystander_note ON bystander (note) WHERE id > 0;
CREATE TRIGGER bystander_touch BEFORE INSERT OR UPDATE ON bystander FOR EACH ROW EXECUTE FUNCTION bystander_touch();
CREATE VIEW bystander_view AS SELECT id, note FROM bystander WHERE kind = 'calm';
CREATE SEQUENCE bystander_seq START 7;
GRANT SELECT ON bystander TO PUBLIC;
INSERT INTO bystander (parent, kind, note) VALUES (NULL, 'calm', 'a'), (1, 'loud', NULL), (1, NULL, 'c');
"""


@dataclass(frozen=True)
class Case:
    """A schema with rows, a plan, and what the plan must keep."""

    name: str
    #: Run by the owner of the target.
    given: str
    #: The plan's rollback.sql.
    plan: str
    #: "how kind name" of everything that is kept.
    keeps: tuple[str, ...]
    #: The same for NOT NULL, which is a constraint with a name since 18.
    keeps_18: tuple[str, ...] = ()
    #: One more gate of verify.sql.
    gate: str = "SELECT true"
    #: What plan.toml accepts.
    accepts: tuple[str, ...] = ()
    #: What the survivors look like without it: part of each line that is new in the picture.
    leaves: tuple[str, ...] = ()
    #: Whether survivors are changed, so that their lines differ in ways that `leaves` need not tell.
    alters: bool = False
    #: Checks that fail because of what is given, or of what the plan says.
    broken: tuple[str, ...] = ()
    #: Oldest PostgreSQL that knows what is used here, and why.
    since: int = 15
    why: str = ""
