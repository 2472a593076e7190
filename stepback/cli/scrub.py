"""Secrets out of messages about arguments: a connection string given by mistake may hold a password."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: What stands in its place.
PLACEHOLDER = "[connection string]"

_SUSPICIOUS = re.compile(r"://|\b(password|passwd|pwd|sslpassword)\s*=", re.IGNORECASE)
_TEXT = re.compile(r"\S*(?:://|\b(?:password|passwd|pwd|sslpassword)\s*=)\S*", re.IGNORECASE)


def scrubbed(message: str, arguments: Sequence[str]) -> str:
    """Return the message without any argument that looks like a connection string, whole or in part.

    Args:
        message: What click says; it repeats arguments, some of them as Python prints them.
        arguments: All that were given.
    """
    for argument in sorted(arguments, key=len, reverse=True):
        if _SUSPICIOUS.search(argument):
            # Of --option=value the value alone is repeated.
            for form in (argument, argument.partition("=")[2]):
                if _SUSPICIOUS.search(form):
                    message = message.replace(repr(form), PLACEHOLDER).replace(form, PLACEHOLDER)
    return _TEXT.sub(PLACEHOLDER, message)
