"""Made-up schemas and made-up scripts: either all of it comes back exactly, or it is refused and nothing changed.

`STEPBACK_EXAMPLES=2000 pytest tests/integration/worker/test_properties.py --hypothesis-seed=7` looks further.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from hypothesis import HealthCheck, Phase, event, given, settings

from ledger.model import Run, State
from stepback.embedded import Postgres
from tests.databases import fresh_database, make_template
from tests.harness import Engine, Picture, completed, ended
from tests.integration.worker.generated.model import Example
from tests.integration.worker.generated.scripts import examples

#: How many examples are tried; with none given few, and always the same.
_EXAMPLES = int(os.environ.get("STEPBACK_EXAMPLES", "0"))
_FEW = 40

#: Smallest share of examples that must really be rolled back: refusals alone prove nothing.
_ACCEPTED = 0.5

#: How a run may end that is not carried out; anything else is a fault of ours.
_HONEST = {
    "plan_refused",
    "impact_not_accepted",
    "nothing_to_roll_back",
    "would_lose_data",
    "statement_failed",
    "not_possible",
}

_TRACES = """
SELECT nspname AS trace FROM pg_namespace WHERE nspname LIKE 'emergency\\_backup\\_r%'
UNION ALL SELECT tgname FROM pg_trigger WHERE tgname LIKE 'stepback%'
UNION ALL SELECT name FROM emergency_backup.preserved_objects
UNION ALL SELECT 'a marker' FROM emergency_backup.marker
"""


@pytest.fixture
def installed(postgres: Postgres, ledger_engine: sqlalchemy.Engine) -> str:
    """Give the name of a template database with Stepback's side and nothing else."""

    def fill(name: str) -> None:
        engine = Engine(postgres, ledger_engine, name, Path("nowhere"))
        engine.install()
        engine.close()

    return make_template(postgres, "installed_template", owner="goodbuy_app", fill=fill)


def _engines(postgres: Postgres, ledger: sqlalchemy.Engine, template: str, plans: Path) -> Iterator[Engine]:
    """Give an engine on a target of its own, one at a time."""
    while True:
        with fresh_database(postgres, "made_up", owner="goodbuy_app", template=template) as name:
            engine = Engine(postgres, ledger, name, plans)
            try:
                yield engine
            finally:
                engine.close()


# Drawing alone takes longer than hypothesis finds healthy where each example has a database of its own.
@pytest.mark.timeout(max(300, 5 * _EXAMPLES))
def test_all_comes_back_or_nothing_changed(
    postgres: Postgres, ledger_engine: sqlalchemy.Engine, installed: str, tmp_path: Path
) -> None:
    """A made-up script is rolled back and recovered exactly, or ends with a code and leaves no trace; half are."""
    engines = _engines(postgres, ledger_engine, installed, tmp_path)
    ends: Counter[str] = Counter()

    @settings(
        max_examples=_EXAMPLES or _FEW,
        derandomize=not _EXAMPLES,
        database=None,
        phases=(Phase.generate, *((Phase.shrink,) if _EXAMPLES else ())),
        suppress_health_check=list(HealthCheck),
    )
    @given(examples())
    def holds(example: Example) -> None:
        end = _out_and_back(next(engines), example)
        event(end)
        ends[end] += 1

    holds()
    engines.close()  # type: ignore[attr-defined]  # a generator

    assert ends["completed"] >= _ACCEPTED * ends.total(), ends


def _out_and_back(engine: Engine, example: Example) -> str:
    """Carry an example out, hold it to the property, and return how it ended."""
    with engine.connect("goodbuy_app") as conn:
        for statement in example.given:
            conn.execute(statement)
    before = engine.picture()

    run = _rolled_back(engine, example)

    if run.state is not State.COMPLETED:
        assert run.state in {State.REFUSED, State.FAILED}, ended(run)
        assert run.error is not None
        assert run.error.code in _HONEST, ended(run)
        assert _further(engine.picture()) == _further(before), ended(run)
        assert engine.query(_TRACES) == []
        return run.error.code
    completed(run)
    between = engine.fingerprint()
    for kept in engine.kept(run):
        if kept.inside is not None:
            assert len(engine.query(f"SELECT FROM ONLY {kept.inside}")) == kept.rows
    assert not engine.deliver(run.command_id)
    assert engine.fingerprint() == between
    completed(engine.recover(run))
    assert _further(engine.picture()) == _further(before)
    return "completed"


def _rolled_back(engine: Engine, example: Example) -> Run:
    """Roll an example back; accept, as somebody would who reads the refusal, what CASCADE would take."""
    accepts: list[str] = []
    while True:
        engine.plan("".join(f"{statement};\n" for statement in example.script), accepts=accepts)
        run = engine.rollback()
        more = re.search(r"add to plan\.toml: (accepts = .*)", run.error.message if run.error else "")
        if more is None:
            return run
        accepts += tomllib.loads(more[1])["accepts"]


def _further(picture: Picture) -> tuple[Any, ...]:
    """Return a picture without how far its sequences are: a number that was drawn is never drawn again."""
    schema = sorted(re.sub(r"^(sequence \|.*\}) \| -?\d+", r"\1", fact) for fact in picture.fingerprint.schema)
    return schema, picture.fingerprint.data, picture.dump, picture.rows
