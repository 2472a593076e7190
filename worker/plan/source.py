"""Where a plan comes from: a folder, or a bare registry row; pinned by SHA-256 either way."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from hashlib import sha256 as _sha256
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.canonical import canonical, sha256
from ledger.errors import PlanChanged, PlanRefused, UnknownMigration
from ledger.model import Json
from ledger.names import check_name
from worker.plan.parse import MAX_SCRIPT_BYTES
from worker.target import Session

#: Files of a plan folder that its hash covers; `migration.sql` is for people and does not count.
PINNED_FILES = ("rollback.sql", "plan.toml", "verify.sql", "finish.sql")
#: A folder with one of these is a plan.
PLAN_FILES = ("rollback.sql", "plan.toml")


class Options(BaseModel):
    """What plan.toml may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: Annotated[str, Field(max_length=500)] = ""
    #: Objects of others that the plan may take along, as refusals list them: "table column public.t.c".
    accepts: tuple[str, ...] = ()
    #: Tables that functions and blocks of the plan may change beside those that their text mentions: "public.log".
    preserves: tuple[str, ...] = ()
    #: Role that the plan's own statements are run as; the owner of the database if nothing is said.
    owner: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    #: From so many rows on, dropped columns are copied before apply, while others write; 0: always where it can be.
    online_rows: Annotated[int, Field(ge=0)] = 50_000
    #: What the views on kept tables are called, where it is not "<table>_backup": {"businesses": "businesses_ai_data"}.
    backup_views: dict[str, Annotated[str, Field(min_length=1, max_length=63)]] = Field(default_factory=dict)
    #: Migrations whose plans are carried out in this order, in one transaction, instead of a script of its own.
    members: Annotated[tuple[str, ...], Field(max_length=100)] = ()


@dataclass(frozen=True)
class RegistryRow:
    """A row of migration_rollbacks, as far as a plan is concerned."""

    id: int
    rollback_sql: str
    plan_sha256: str | None
    recorded_by: str | None


@dataclass(frozen=True)
class Plan:
    """What undoes a migration, with the hash that pins it."""

    migration: str
    #: For a composite plan, a line that says what it is made of.
    rollback_sql: str
    verify_sql: str | None
    options: Options
    sha256: str
    #: The registry row that stands for it, if there is one.
    row: RegistryRow | None
    #: Whether the row alone is the plan, and so its writer's rights count.
    bare: bool
    #: What is to be done after COMMIT and cannot be inside a transaction.
    finish_sql: str | None = None
    #: The plans that a composite plan is made of, in order.
    members: tuple[Plan, ...] = ()

    @property
    def parts(self) -> tuple[Plan, ...]:
        """The plans that have a script: the members, or the plan itself."""
        return self.members or (self,)

    @property
    def accepts(self) -> frozenset[str]:
        """What may be taken along; in a composite plan, whatever a member accepts."""
        return frozenset(label for part in self.parts for label in part.options.accepts)

    @property
    def owner(self) -> str | None:
        """Role that the plan's own statements are run as; None for the owner of the database."""
        return self.row.recorded_by if self.bare and self.row is not None else self.options.owner


def find(session: Session, folder: Path | None, migration: str) -> Plan:
    """Find the plan of a migration: its folder if there is one, else its registry row.

    Args:
        session: A session in the target.
        folder: The target's folder of plans.
        migration: Its name.

    Raises:
        UnknownMigration: Neither folder nor row.
        PlanChanged: The folder is not what was registered, or what was registered is not here.
        PlanRefused: A file of the folder cannot be read.
    """
    check_name("migration", migration)
    row = newest_row(session, migration)
    if folder is not None and is_plan(folder / migration):
        plan = _registered(read_folder(folder / migration), row)
        members = tuple(_registered(member, newest_row(session, member.migration)) for member in plan.members)
        return replace(plan, members=members)
    if row is None:
        raise UnknownMigration(f"no plan for {migration!r}: neither a folder nor a row in migration_rollbacks")
    if row.plan_sha256 is not None:
        raise PlanChanged(f"the plan of {migration} was registered from a folder that this host does not have")
    return Plan(migration, row.rollback_sql, None, Options(), _pin({"rollback.sql": row.rollback_sql}), row, bare=True)


def is_plan(folder: Path) -> bool:
    """Whether a folder holds a plan."""
    return any((folder / name).is_file() for name in PLAN_FILES)


def recover_script(folder: Path | None, migration: str) -> str:
    """Return a plan's recover.sql. No hash covers it: what it chooses becomes part of the command that is signed.

    Raises:
        PlanRefused: There is none, or it cannot be read.
    """
    path = None if folder is None else folder / check_name("migration", migration) / "recover.sql"
    if path is None or not path.is_file():
        raise PlanRefused(f"the plan of {migration} has no recover.sql; say which rows come back with --where")
    return _read(path)


def _registered(plan: Plan, row: RegistryRow | None) -> Plan:
    """Return a folder's plan with the row that stands for it, which must be of the same plan."""
    if row is not None and row.plan_sha256 not in (None, plan.sha256):
        raise PlanChanged(
            f"the plan of {plan.migration} changed since it was registered; look at it, then register it again"
        )
    return replace(plan, row=row)


def newest_row(session: Session, migration: str) -> RegistryRow | None:
    """Return the newest registry row that is not completed, else the newest."""
    found = session.row(
        "SELECT id, rollback_sql, plan_sha256, recorded_by FROM public.migration_rollbacks"
        " WHERE migration_name = %s ORDER BY (rollback_status IS NOT DISTINCT FROM 'completed'), id DESC LIMIT 1",
        (migration,),
    )
    return None if found is None else RegistryRow(**found)


def read_folder(folder: Path) -> Plan:
    """Read a plan folder; its name is the migration's. Members of a composite plan are folders beside it.

    Raises:
        BadName: The folder's name cannot be a migration's.
        PlanRefused: A file is missing, too large, not UTF-8, or plan.toml holds what it may not.
    """
    migration = check_name("migration", folder.name)
    texts = {name: _read(folder / name) for name in PINNED_FILES if (folder / name).is_file()}
    options = _options(texts.get("plan.toml", ""), folder)
    members = tuple(_member(folder, name) for name in options.members)
    _refuse_mixed(migration, options, members, script="rollback.sql" in texts)
    script = texts.get("rollback.sql") or f"-- made of: {', '.join(options.members)}"
    pinned = _pin(texts, members)
    return Plan(
        migration,
        script,
        texts.get("verify.sql"),
        options,
        pinned,
        row=None,
        bare=False,
        finish_sql=texts.get("finish.sql"),
        members=members,
    )


def _member(folder: Path, name: str) -> Plan:
    beside = folder.parent / check_name("migration", name)
    if not (beside / "rollback.sql").is_file():
        raise PlanRefused(f"{folder.name} names the member {name}, but beside it is no plan of that name with a script")
    return read_folder(beside)


def _refuse_mixed(migration: str, options: Options, members: tuple[Plan, ...], *, script: bool) -> None:
    if script and members:
        raise PlanRefused(f"{migration} has members and a rollback.sql; a plan is one or the other")
    if not script and not members:
        raise PlanRefused(f"{migration} has no rollback.sql; a plan folder needs one, or members in plan.toml")
    twice = [name for place, name in enumerate(options.members) if name in options.members[:place]]
    if twice:
        raise PlanRefused(f"{migration} names the member {twice[0]} twice")
    if members and (options.accepts or options.preserves or options.owner):
        raise PlanRefused(
            f"{migration} has members: what each accepts and preserves, and who owns it is said in its own plan.toml"
        )


def _pin(texts: dict[str, str], members: tuple[Plan, ...] = ()) -> str:
    hashes: dict[str, Json] = {name: _sha256(text.encode()).hexdigest() for name, text in texts.items()}
    if members:
        hashes["members"] = [member.sha256 for member in members]
    return sha256(canonical(hashes))


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_SCRIPT_BYTES:
            raise PlanRefused(f"{path.name} is larger than 1 MiB")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise PlanRefused(f"{path.name} is not UTF-8") from None
    except OSError as error:
        raise PlanRefused(f"{path.name} cannot be read: {error.strerror}") from error


def _options(text: str, folder: Path) -> Options:
    try:
        return Options.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise PlanRefused(f"plan.toml of {folder.name} is not valid TOML: {error}") from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise PlanRefused(f"plan.toml of {folder.name}: {problems}") from None
