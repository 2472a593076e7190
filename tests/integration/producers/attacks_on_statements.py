"""Attacks by what is signed: JSON, fields, confusion of statements, times, audience, issuer, and text that deceives."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from ledger.model import Kind
from producers.envelope import sign
from tests.integration.producers.forging import fields_of, signed
from tests.integration.producers.scene import APPROVER, BILLING, LOCAL, MARK, RELAY, Attack, Scene


def _text(name: str, change: Callable[[str], str | bytes], code: str = "bad_request") -> Attack:
    """Sign a request correctly, its JSON changed."""

    def make(scene: Scene) -> str:
        return signed(scene.key(BILLING), change(json.dumps(fields_of(scene.request()))))

    return Attack(name, code, make)


def _field(name: str, code: str = "bad_request", actor: str = "unknown", **changes: object) -> Attack:
    """Sign a request correctly, some of its fields changed to anything."""
    return Attack(name, code, lambda scene: signed(scene.key(BILLING), fields_of(scene.request(), **changes)), actor)


def _believed(name: str, code: str, **changes: object) -> Attack:
    """As `_field`, where the statement is well formed: the audit log names who signed it."""
    return _field(name, code, BILLING, **changes)


def _number(name: str, number: str) -> Attack:
    """Put a number into a recovery, spelled as given."""

    def make(scene: Scene) -> str:
        fields = fields_of(scene.request(), kind="recover", migration=None, subject_run=4711)
        return signed(scene.key(BILLING), json.dumps(fields).replace("4711", number))

    return Attack(name, "bad_request", make)


def _after(scene: Scene, issued: timedelta, valid: timedelta) -> str:
    at = datetime.now(UTC) + issued
    return scene.envelope(issued_at=at, not_after=at + valid)


def _posing(name: str, key: str, issuer: str, code: str = "bad_signature", actor: str = "unknown") -> Attack:
    """Name another issuer than that of the key."""
    return Attack(name, code, lambda scene: sign(scene.request(issuer), scene.key(key)), actor)


def _nested(depth: int, opening: str = "[", closing: str = "]") -> Callable[[str], str]:
    return lambda text: f'{text[:-1]}, "more": {opening * depth}1{closing * depth}}}'


def _approval_as_command(scene: Scene) -> str:
    return sign(scene.approval(scene.waiting()), scene.key(APPROVER))


def _cancellation_as_command(scene: Scene) -> str:
    return sign(scene.cancellation(scene.queued()), scene.key(APPROVER))


_HIDDEN = {
    "bidi override": "\u202e",
    "bidi embedding": "\u202a",
    "bidi isolate": "\u2066",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "next line": "\u0085",
    "escape": "\x1b[2J",
    "carriage return": "\r",
    "backspace": "\b",
    "delete": "\x7f",
    "NUL": "\0",
    "log line": '\n{"event": "run_approved", "actor": "local:root"}',
}

ATTACKS = (
    # -- JSON
    _text("payload with a BOM", lambda t: b"\xef\xbb\xbf" + t.encode()),
    _text("payload in UTF-16", lambda t: t.encode("utf-16")),
    _text("payload in UTF-16 without a BOM", lambda t: t.encode("utf-16-le")),
    _text("payload in UTF-32", lambda t: t.encode("utf-32")),
    _text("payload not UTF-8", lambda t: t.encode().replace(MARK.encode(), b"\xff\xfe")),
    _text("payload in overlong UTF-8", lambda t: t.encode().replace(MARK.encode(), b"\xc0\xaf")),
    _text("payload with a surrogate in UTF-8", lambda t: t.encode().replace(MARK.encode(), b"\xed\xa0\x80")),
    _text("target twice", lambda t: f'{t[:-1]}, "target": "goodbuy_test"}}'),
    _text("target twice, once escaped", lambda t: f'{t[:-1]}, "t\\u0061rget": "goodbuy_test"}}'),
    _text("conditions with a table twice", lambda t: f'{t[:-1]}, "conditions": {{"t": "a", "t": "b"}}}}'),
    _text("two objects", lambda t: t + t),
    _text("rubbish behind", lambda t: f"{t} {MARK}"),
    _text("NUL behind", lambda t: f"{t}\0"),
    _text("comma at the end", lambda t: f"{t[:-1]},}}"),
    _text("a comment", lambda t: f"/* {MARK} */ {t}"),
    _text("single quotes", lambda t: t.replace('"', "'")),
    _text("a list", lambda t: f"[{t}]"),
    _text("a string", json.dumps),
    _text("null", lambda _: "null"),
    _text("empty", lambda _: " "),
    _text("cut off", lambda t: t[:-1]),
    _text("half of a surrogate pair", lambda t: t.replace(MARK, "\\ud800")),
    _text("half of a surrogate pair as a key", lambda t: f'{t[:-1]}, "\\ud800": 1}}'),
    _text("nested 500 deep", _nested(500)),
    _text("nested 990 deep", _nested(990)),
    _text("nested 20,000 deep", _nested(20_000)),
    _text("objects nested 8,000 deep", _nested(8_000, '{"":', "}")),
    Attack("an envelope in the envelope", "bad_request", lambda scene: signed(scene.key(BILLING), scene.envelope())),
    # -- numbers
    _number("a float", "1.0"),
    _number("an exponent", "1e0"),
    _number("NaN", "NaN"),
    _number("Infinity", "Infinity"),
    _number("minus Infinity", "-Infinity"),
    _number("1e999", "1e999"),
    _number("2 to the 63rd", str(2**63)),
    _number("4,000 digits", "9" * 4_000),
    _number("40,000 digits", "9" * 40_000),
    _number("a number below zero", "-1"),
    _number("zero", "0"),
    _number("a leading zero", "01"),
    _number("hexadecimal", "0x1"),
    _number("true for a number", "true"),
    _number("a number in quotes", '"1"'),
    # -- fields
    _field("a field that no command has", admin=True),
    _field("__proto__", __proto__={"admin": True}),
    _field("__class__", __class__=MARK),
    _field("what of the class", what=MARK),
    _field("an unknown kind", kind=f"drop {MARK}"),
    _field("kind in capitals", kind="ROLLBACK"),
    _field("kind in a list", kind=["rollback"]),
    _field("target null", target=None),
    _field("target in a list", target=["goodbuy_hq"]),
    _field("target an object", target={"$gt": ""}),
    _field("reason null", reason=None),
    _field("command id no UUID", command_id=f"1'; {MARK}"),
    _field("command id with NUL", command_id=f"{uuid4()}\0"),
    _field("accepted hash with a line break", accept_sha256="a" * 64 + "\n"),
    _field("accepted hash with SQL", accept_sha256=f"' OR 1=1 -- {MARK}"),
    _field("policy with SQL", kind="recover", migration=None, subject_run=1, policy=f"skip'; {MARK}"),
    _field("conditions of a rollback", conditions={"t": MARK}),
    _field("report of a rollback", report=MARK),
    _field("report with NUL", kind="recover", migration=None, subject_run=1, report="SELECT '\0'"),
    _field("conditions with NUL", kind="recover", migration=None, subject_run=1, conditions={"t\0": "true"}),
    _field("conditions in a list", kind="recover", migration=None, subject_run=1, conditions=[MARK]),
    _field("a rollback of a run", subject_run=1),
    _field("a purge of no run", kind="purge", migration=None),
    _field("a canary on a target", kind="canary", migration=None),
    # -- one statement for another
    Attack("an approval as a command", "bad_request", _approval_as_command),
    Attack("a cancellation as a command", "bad_request", _cancellation_as_command),
    Attack("an access token as a command", "bad_request", lambda s: sign(s.access(), s.key(BILLING))),
    _field("a command that says it is an approval", statement="approval"),
    _field("a command that says it is one", statement="command"),
    # -- audience
    _believed("another installation", "bad_signature", audience=str(uuid4())),
    _believed("no installation", "bad_signature", audience=""),
    _believed("any installation", "bad_signature", audience="*"),
    _believed("an audience with NUL", "bad_signature", audience="\0"),
    Attack(
        "the installation in capitals",
        "bad_signature",
        lambda scene: scene.envelope(audience=str(scene.installation).upper()),
        BILLING,
    ),
    _field("a list of audiences", audience=[str(uuid4())]),
    # -- times
    Attack("its time has passed", "expired", lambda s: _after(s, timedelta(hours=-2), timedelta(hours=1)), BILLING),
    Attack("its time is to come", "expired", lambda s: _after(s, timedelta(minutes=6), timedelta(hours=1)), BILLING),
    Attack("valid for 25 hours", "bad_request", lambda s: _after(s, timedelta(0), timedelta(hours=25))),
    Attack("valid for 24 hours and a second", "bad_request", lambda s: _after(s, timedelta(0), timedelta(1, 1))),
    Attack("valid for no time", "bad_request", lambda s: _after(s, timedelta(0), timedelta(0))),
    Attack("valid backwards", "bad_request", lambda s: _after(s, timedelta(0), timedelta(hours=-1))),
    _field("valid for ever", not_after="9999-12-31T23:59:59Z"),
    _field("signed in the year 1", issued_at="0001-01-01T00:00:00Z"),
    _field("a time with an offset", not_after="2026-11-23T22:00:00+00:00"),
    _field("a time without a zone", not_after="2026-11-23T22:00:00"),
    _field("a time as a number", not_after=4102444800),
    _field("a time that is none", not_after="2026-02-30T00:00:00Z"),
    _field("a leap second", not_after="2026-12-31T23:59:60Z"),
    _field("a time in Arabic digits", not_after="\u0662\u0660\u0662\u0666-11-23T22:00:00Z"),
    _field("infinity for a time", not_after="infinity"),
    # -- issuer
    _posing("another issuer", BILLING, "service:careful"),
    _posing("an issuer that begins with the key's", LOCAL, "local:adam"),
    _posing("an issuer that the key's begins with", BILLING, "service:bill"),
    _posing("an issuer in capitals", BILLING, "SERVICE:BILLING"),
    _posing("an issuer with a space", BILLING, "service:billing "),
    _posing("an issuer with a Cyrillic letter", BILLING, "service:b\u0456lling"),
    _posing("an issuer with a soft hyphen", BILLING, "service:bil\u00adling"),
    _posing("the relay behind its own sub-issuer", f"{RELAY}/eve", RELAY),
    _posing("a sub-issuer by another sub-issuer's key", f"{RELAY}/eve", f"{RELAY}/ada"),
    _posing("a sub-issuer of a longer name", RELAY, f"{RELAY}2/ada"),
    _posing("another relay's by a path", RELAY, "outbox:other/ada"),
    _posing("a sub-issuer with a path", RELAY, f"{RELAY}/../billing", "not_allowed", f"{RELAY}/../billing"),
    _posing("a sub-issuer without a name", RELAY, f"{RELAY}/", "not_allowed", f"{RELAY}/"),
    _posing("a sub-issuer below another", RELAY, f"{RELAY}/ada/x", "not_allowed", f"{RELAY}/ada/x"),
    _posing("a sub-issuer of one with rights", BILLING, f"{BILLING}/x", "not_allowed", f"{BILLING}/x"),
    _posing("a sub-issuer with a line break", RELAY, f"{RELAY}/ada\n{MARK}", "bad_request"),
    _posing("a sub-issuer that turns the line", RELAY, f"{RELAY}/\u202eada", "bad_request"),
    _posing("an issuer of 300 characters", RELAY, f"{RELAY}/{'a' * 300}", "bad_request"),
    _field("an issuer with NUL", issuer=f"{BILLING}/\0"),
    _field("an empty issuer", issuer=""),
    # -- names
    _believed("a target with NUL", "bad_name", target="goodbuy_hq\0"),
    _believed("a target with a line break", "bad_name", target=f"goodbuy_hq\n{MARK}"),
    _believed("a target with a Cyrillic letter", "bad_name", target="g\u043eodbuy_hq"),
    _believed("a target in full-width letters", "bad_name", target="\uff47oodbuy_hq"),
    _believed("a target with a zero-width space", "bad_name", target="goodbuy_hq\u200b"),
    _believed("a target with SQL", "bad_name", target=f"goodbuy_hq'; DROP DATABASE x; -- {MARK}"),
    _believed("a target with a path", "bad_name", target="goodbuy_../../etc"),
    _believed("a target that is a URL", "bad_name", target=f"postgresql://x:{MARK}@db/goodbuy_hq"),
    _believed("a target of 64 bytes", "bad_name", target="g" * 64),
    _believed("an empty target", "bad_name", target=""),
    _believed("a migration with NUL", "bad_name", migration=f"m\0{MARK}"),
    _believed("a migration with a path", "bad_name", migration=f"../../{MARK}"),
    _believed("a migration with SQL", "bad_name", migration=f"m'; {MARK}"),
    _believed("a migration with a format", "bad_name", migration="%s{}"),
    _believed("a migration without a name", "bad_name", migration=None),
    _believed("another plan", "plan_changed", plan_sha256="0" * 64),
    _believed("a plan with SQL", "plan_changed", plan_sha256=f"' OR 1=1 -- {MARK}"),
    _believed("a plan with NUL", "plan_changed", plan_sha256="\0"),
    _believed("a plan that is not there", "unknown_migration", migration="add_nothing"),
    _believed(
        "the recovery of a run that is not there",
        "unknown_run",
        kind=Kind.RECOVER.value,
        migration=None,
        subject_run=2**63 - 1,
    ),
    # -- reasons
    *(_field(f"a reason with {name}", "bad_name", reason=f"{MARK}{hidden}x") for name, hidden in _HIDDEN.items()),
    _field("a reason of 501 characters", "bad_name", reason="x" * 501),
    _field("a reason of 40,000 characters", "bad_name", reason="x" * 40_000),
)
