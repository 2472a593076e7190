"""What scripts wrap around the work: LOCK TABLE and SET, honoured where that is harmless."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pglast import ast
from pglast.enums import VariableSetKind

from ledger.errors import PlanRefused
from worker.plan.performed import TableLock
from worker.plan.rules import Rule
from worker.plan.statements import relation_name


@dataclass(frozen=True)
class Locking:
    """LOCK TABLE: goes through the lock protocol, with all other locks of the run."""

    locks: tuple[TableLock, ...]
    line: int
    text: str


@dataclass(frozen=True)
class Path:
    """SET search_path: how the names after it are resolved, for the script alone."""

    #: None for the target's own.
    schemas: tuple[str, ...] | None
    line: int
    text: str


@dataclass(frozen=True)
class Setting:
    """SET of something that the script's own statements are run with."""

    name: str
    #: As the server takes it; a limit of time in milliseconds.
    value: str
    line: int
    text: str


@dataclass(frozen=True)
class Ignored:
    """SET of something that changes nothing about what is done."""

    note: str
    line: int
    text: str


#: From the number that the grammar gives to a mode.
_MODES: Final = {
    1: "ACCESS SHARE",
    2: "ROW SHARE",
    3: "ROW EXCLUSIVE",
    4: "SHARE UPDATE EXCLUSIVE",
    5: "SHARE",
    6: "SHARE ROW EXCLUSIVE",
    7: "EXCLUSIVE",
    8: "ACCESS EXCLUSIVE",
}

#: Settings that tools write into every script, with the values that mean what is done anyway; None for any.
_HARMLESS: Final[dict[str, frozenset[str] | None]] = {
    "client_min_messages": None,
    "client_encoding": frozenset({"utf8", "utf-8", "unicode"}),
    "standard_conforming_strings": frozenset({"on", "true"}),
    "xmloption": None,
    "row_security": frozenset({"off", "false"}),
    "default_tablespace": frozenset({""}),
    "default_table_access_method": frozenset({"heap"}),
    "transaction_timeout": None,
    "application_name": None,
    # Runs are in UTC; another zone would move the moments that a change between types of time converts.
    "timezone": frozenset({"utc", "gmt", "etc/utc", "zulu", "0"}),
    # The target's own limits hold; a script may ask for what it likes.
    "lock_timeout": None,
    "idle_in_transaction_session_timeout": None,
}


_UNITS: Final = {"us": 0.001, "ms": 1, "": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}


def _milliseconds(value: str) -> str | None:
    """Return a limit of time as a whole number of milliseconds; None if it is none."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]*)", value.strip())
    if found is None or found[2] not in _UNITS:
        return None
    return str(round(float(found[1]) * _UNITS[found[2]]))


_SWITCH: Final = {
    **dict.fromkeys(("on", "true", "yes", "1"), "on"),
    **dict.fromkeys(("off", "false", "no", "0"), "off"),
}


@dataclass(frozen=True)
class _Honoured:
    """A setting that holds for the script alone."""

    #: Makes a value the server's; None for what is none.
    read: Callable[[str], str | None]
    #: What RESET means.
    usual: str
    expected: str


_HONOURED: Final = {
    # None at all means as long as the target allows.
    "statement_timeout": _Honoured(_milliseconds, "0", "a time, such as 5000 or '5s'"),
    "check_function_bodies": _Honoured(lambda value: _SWITCH.get(value.lower()), "on", "on or off"),
}

RULES: Final = (
    Rule("BEGIN … COMMIT around everything", "taken off", "the run is one transaction anyway"),
    Rule(
        "LOCK TABLE", "taken with the other locks of the run, in their order", "every run takes them in the same order"
    ),
    Rule("SET search_path", "names after it are resolved so, in this script alone"),
    Rule(
        "SET statement_timeout",
        "honoured for what is run as written after it, where it is shorter than the target's `statement_timeout_ms`",
        "no script lifts the ceiling",
    ),
    Rule("SET check_function_bodies", "honoured for what is run as written after it"),
    Rule(
        "SET of " + ", ".join(_HARMLESS),
        "left out, and said so",
        "what tools write into every script; a value that would change what is done is refused",
    ),
)


def read(stmt: object, line: int, text: str) -> Locking | Path | Setting | Ignored | None:
    """Read LOCK TABLE and SET; None if it is neither.

    Raises:
        PlanRefused: A setting that would change how the rest is understood.
    """
    match stmt:
        case ast.LockStmt():
            mode = _MODES[stmt.mode or 8]
            locks = tuple(TableLock(relation_name(entry, line), mode) for entry in stmt.relations or ())
            return Locking(locks, line, text)
        case ast.VariableSetStmt():
            return _set(stmt, line, text)
    return None


def _set(stmt: Any, line: int, text: str) -> Path | Setting | Ignored | None:
    name = (stmt.name or "").lower()
    if name == "search_path":
        return Path(_values(stmt) if stmt.kind == VariableSetKind.VAR_SET_VALUE else None, line, text)
    if name in _HONOURED:
        return _honour(_HONOURED[name], name, stmt, line, text)
    if name not in _HARMLESS:
        return None
    allowed = _HARMLESS[name]
    if stmt.kind == VariableSetKind.VAR_SET_VALUE and allowed is not None:
        value = ", ".join(_values(stmt)).lower()
        if value not in allowed:
            known = ", ".join(sorted(allowed)) if any(allowed) else "nothing"
            raise PlanRefused(f"SET {name} to anything but {known} is refused", line=line)
    limits = " The target's own limits hold." if name.endswith("timeout") else ""
    return Ignored(f"line {line}: SET {name} is left out.{limits}", line, text)


def _honour(setting: _Honoured, name: str, stmt: Any, line: int, text: str) -> Setting:
    said = stmt.kind == VariableSetKind.VAR_SET_VALUE
    value = setting.read(", ".join(_values(stmt))) if said else setting.usual
    if value is None:
        raise PlanRefused(f"SET {name} is refused: it takes {setting.expected}", line=line)
    return Setting(name, value, line, text)


def _values(stmt: Any) -> tuple[str, ...]:
    found = []
    for argument in stmt.args or ():
        # An interval as a time zone comes with a cast around it; nothing that is allowed does.
        value = getattr(argument, "val", argument)
        found.append(str(value.sval if isinstance(value, ast.String) else getattr(value, "ival", value)))
    return tuple(found)
