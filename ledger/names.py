"""Names of migrations and targets: checked at the door, before they reach SQL, a path or a log."""

from __future__ import annotations

import re

from ledger.errors import BadName

#: Longest name in bytes; PostgreSQL cuts identifiers at 63.
MAX_NAME_BYTES = 63

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_name(what: str, name: str) -> str:
    """Return the name unchanged if it can be the name of a migration or a target.

    Args:
        what: The kind of name, for the message: "migration" or "target".
        name: Letters, digits, `_`, `-` and `.`, at most 63 bytes, beginning with a letter or digit.

    Raises:
        BadName: The text is something else. Its content is never repeated in the message,
            since a connection string put here by mistake may hold a password.
    """
    if not name:
        raise BadName(f"the {what} is empty; give its name")
    if "://" in name or "=" in name:
        raise BadName(f"the {what} looks like a connection string; give the configured name instead")
    if any(ord(char) < 32 or ord(char) == 127 for char in name):
        raise BadName(f"the {what} holds a control character; give the plain name")
    if "/" in name or "\\" in name or ".." in name:
        raise BadName(f"the {what} looks like a path; give the plain name")
    if len(name.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        raise BadName(f"the {what} is longer than {MAX_NAME_BYTES} bytes")
    if not _NAME.fullmatch(name):
        raise BadName(f"the {what} may hold letters, digits, '_', '-' and '.', and begins with a letter or digit")
    return name
