"""Where a plan comes from: a folder, or a bare registry row; pinned by SHA-256 either way."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from hashlib import sha256 as _sha256
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.canonical import canonical, sha256
from ledger.errors import PlanChanged, PlanRefused, UnknownMigration
from ledger.names import check_name
from worker.plan.parse import MAX_SCRIPT_BYTES
from worker.target import Session

#: Files of a plan folder that its hash covers; `migration.sql` is for people and does not count.
PINNED_FILES = ("rollback.sql", "plan.toml", "verify.sql")


class Options(BaseModel):
    """What plan.toml may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: Annotated[str, Field(max_length=500)] = ""
    #: Objects of others that the plan may take along, as refusals list them: "table column public.t.c".
    accepts: tuple[str, ...] = ()
    #: Role that the plan's own statements are run as; the owner of the database if nothing is said.
    owner: Annotated[str, Field(min_length=1, max_length=63)] | None = None
    #: From so many rows on, dropped columns are copied before apply, while others write; 0: always where it can be.
    online_rows: Annotated[int, Field(ge=0)] = 50_000


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
    rollback_sql: str
    verify_sql: str | None
    options: Options
    sha256: str
    #: The registry row that stands for it, if there is one.
    row: RegistryRow | None
    #: Whether the row alone is the plan, and so its writer's rights count.
    bare: bool

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
    here = folder is not None and (folder / migration / "rollback.sql").is_file()
    if folder is not None and here:
        plan = read_folder(folder / migration, row)
        if row is not None and row.plan_sha256 not in (None, plan.sha256):
            raise PlanChanged(
                f"the plan of {migration} changed since it was registered; look at it, then register it again"
            )
        return plan
    if row is None:
        raise UnknownMigration(f"no plan for {migration!r}: neither a folder nor a row in migration_rollbacks")
    if row.plan_sha256 is not None:
        raise PlanChanged(f"the plan of {migration} was registered from a folder that this host does not have")
    return Plan(migration, row.rollback_sql, None, Options(), _pin({"rollback.sql": row.rollback_sql}), row, bare=True)


def newest_row(session: Session, migration: str) -> RegistryRow | None:
    """Return the newest registry row that is not completed, else the newest."""
    found = session.row(
        "SELECT id, rollback_sql, plan_sha256, recorded_by FROM public.migration_rollbacks"
        " WHERE migration_name = %s ORDER BY (rollback_status IS NOT DISTINCT FROM 'completed'), id DESC LIMIT 1",
        (migration,),
    )
    return None if found is None else RegistryRow(**found)


def read_folder(folder: Path, row: RegistryRow | None = None) -> Plan:
    """Read a plan folder; its name is the migration's.

    Raises:
        BadName: The folder's name cannot be a migration's.
        PlanRefused: A file is missing, too large, not UTF-8, or plan.toml holds what it may not.
    """
    migration = check_name("migration", folder.name)
    texts = {name: _read(folder / name) for name in PINNED_FILES if (folder / name).is_file()}
    if "rollback.sql" not in texts:
        raise PlanRefused(f"{folder} has no rollback.sql; a plan folder needs one")
    options = _options(texts.get("plan.toml", ""), folder)
    return Plan(migration, texts["rollback.sql"], texts.get("verify.sql"), options, _pin(texts), row, bare=False)


def _pin(texts: dict[str, str]) -> str:
    return sha256(canonical({name: _sha256(text.encode()).hexdigest() for name, text in texts.items()}))


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
