"""Who may do what with an object: all grants on it and its columns, as they were, whatever a statement says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from ledger.model import Json
from worker.objects import ownership
from worker.objects.aspect import Aspect, nothing
from worker.objects.keeping import Address, Permits
from worker.objects.subject import Subject
from worker.target import Session

_WORDS: Final = {"pg_proc": "ROUTINE", "pg_type": "TYPE"}


def _facts(session: Session, of: Subject, _detail: str, _line: int) -> dict[str, Json]:
    word = ("SEQUENCE" if of.kind == "sequence" else "TABLE") if _is_relation(of) else None
    told = f"{word or _WORDS.get(of.address.catalog, of.word)} {of.identity}"
    columns = ownership.of_columns(session, of.address.objid, of.identity) if _is_relation(of) else ()
    return {"grants": ownership.of(session, of.address, told).grants, "column_grants": list(columns)}


def _is_relation(of: Subject) -> bool:
    return of.address.catalog == "pg_class"


def _back(session: Session, address: Address, facts: Mapping[str, Any]) -> Iterator[str]:
    yield from ownership.reset(session, address, facts["grants"])
    # Last: what is revoked from the whole is revoked from its columns.
    yield from facts["column_grants"]


def _permits(session: Session, of: Subject, _detail: str) -> Permits:
    changed = frozenset({"relacl", "attacl", "proacl", "typacl", "nspacl", "pg_shdepend"})
    columns = session.rows(
        "SELECT attnum AS number FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND %s",
        (of.address.objid, _is_relation(of)),
    )
    return {of.address: changed, **{Address("pg_class", of.address.objid, row["number"]): changed for row in columns}}


ASPECTS: Final[Mapping[str, Aspect]] = {
    "grants": Aspect(nothing, _permits, locks=False, facts=_facts, back=_back),
}
