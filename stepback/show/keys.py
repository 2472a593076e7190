"""Keys for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from ledger.keys import SigningKey
from stepback.show.console import plain, table
from stepback.show.tables import moment


def of_keys(keys: Sequence[SigningKey]) -> Table:
    """Return keys, one a line."""
    made = table("key", "issuer", "since", "until", "state")
    for key in keys:
        state = "revoked" if key.revoked_at else "expired" if key.expired else "accepted"
        until = moment(key.revoked_at or key.expires_at)
        made.add_row(plain(key.key_id), plain(key.issuer), moment(key.created_at), until, plain(state, _STYLES[state]))
    return made


_STYLES = {"accepted": "green", "revoked": "red", "expired": "yellow"}
