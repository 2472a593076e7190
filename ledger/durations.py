"""Durations as people write them in configuration and on the command line: 12h, 30d, 8w."""

from __future__ import annotations

import re
from datetime import timedelta

_WRITTEN = re.compile(r"([1-9][0-9]{0,4})([hdw])", re.ASCII)
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

#: What a duration looks like, for messages.
ALLOWED = "a whole number of hours, days or weeks, such as 12h, 30d or 8w"


def parse(text: str) -> timedelta:
    """Return the duration that a text means.

    Raises:
        ValueError: It means none, or none at all; the message says what is allowed, without the text.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise ValueError(ALLOWED)
    return int(found[1]) * _UNITS[found[2]]
