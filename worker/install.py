"""The target's side: registry, fence, marker and list of preserved objects, installed by sql/target."""

from __future__ import annotations

from importlib import resources

from ledger.errors import NotPossible
from worker.target import Session

#: What must be there before anything else is asked of a target.
_NEEDED = (
    "public.migration_rollbacks",
    "emergency_backup.fence",
    "emergency_backup.marker",
    "emergency_backup.preserved_objects",
    "emergency_backup.online_copies",
    "emergency_backup.purged_objects",
)


def install(session: Session) -> None:
    """Install or complete the target's side; twice is harmless, and rows that are there are kept.

    Raises:
        NotPossible: The role may not.
    """
    folder = resources.files("sql") / "target"
    scripts = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda e: e.name)
    with session.transaction():
        # Two processes may start at once; IF NOT EXISTS alone does not keep them apart.
        session.rows("SELECT pg_advisory_xact_lock(hashtext('stepback install'))")
        session.execute("SET LOCAL client_min_messages = warning")
        for script in scripts:
            session.execute(script.read_text(encoding="utf-8"))


def check_installed(session: Session) -> None:
    """See that the target's side is there.

    Raises:
        NotPossible: It is not.
    """
    missing = session.value(
        "SELECT string_agg(name, ', ') FROM unnest(%s::text[]) AS name WHERE to_regclass(name) IS NULL",
        (list(_NEEDED),),
    )
    if missing is not None:
        raise NotPossible(f"the target has no {missing}; run: stepback init")
