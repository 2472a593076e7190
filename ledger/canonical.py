"""Canonical JSON: one text for one value, so that a hash means the same in Python, in SQL and next year."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ledger.model import Json


def canonical(value: Json) -> str:
    """Return the one text of a value: keys sorted by code point, no spaces, nothing escaped that need not be.

    Args:
        value: None, booleans, whole numbers, text, lists and dictionaries with text keys.

    Raises:
        TypeError: Something else is in it, a float for one.
        ValueError: A text holds what no database keeps: NUL, or half of a surrogate pair.
    """
    _check(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _check(value: object) -> None:
    if isinstance(value, dict):
        for key, member in value.items():
            if not isinstance(key, str):
                raise TypeError(f"a key of canonical JSON is text, not {type(key).__name__}")
            _check_text(key)
            _check(member)
    elif isinstance(value, list):
        for item in value:
            _check(item)
    elif isinstance(value, str):
        _check_text(value)
    elif value is not None and not isinstance(value, int):
        raise TypeError(f"canonical JSON does not hold {type(value).__name__}")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("a text of canonical JSON holds NUL")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("a text of canonical JSON holds half of a surrogate pair")


def sha256(content: str | bytes) -> str:
    """Return the SHA-256 in lower-case hexadecimal; text is taken as UTF-8."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()
