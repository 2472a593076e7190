"""The ledger's schema, revision by revision: each runs one file of sql/ledger."""

from __future__ import annotations

from importlib import resources

from alembic import op


def run_file(name: str) -> None:
    """Run one file of sql/ledger inside the revision's transaction.

    Args:
        name: File name, such as `0001_installation.sql`.
    """
    script = resources.files("sql").joinpath("ledger", name).read_text(encoding="utf-8")
    # Without parameters the driver sends the text as it is: several statements, `%` and `:x` included.
    op.get_bind().exec_driver_sql(script, execution_options={"no_parameters": True})
