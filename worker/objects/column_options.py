"""Options of a column, without what the server notes among them for itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

#: Since their releases of November 2026 servers count changes of a table's column types in an option of every column:
#: `pg_attver`. It is no setting of anybody's, and has to be neither preserved nor set.
_SERVERS_OWN: Final = "pg_attver="

#: In SQL, the options of column `a` of pg_attribute; null where there are none.
OPTIONS: Final = (
    f"(SELECT array_agg(option ORDER BY place) FROM unnest(a.attoptions) WITH ORDINALITY AS o (option, place)"
    f" WHERE NOT starts_with(option, '{_SERVERS_OWN}'))"
)


def without_servers_own(options: Sequence[Any] | None) -> list[Any]:
    """Return options as a catalog row told them, without the server's own."""
    return [option for option in options or () if not str(option).startswith(_SERVERS_OWN)]
