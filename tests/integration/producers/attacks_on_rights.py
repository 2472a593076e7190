"""Attacks on rights, limits and replay: properly signed, by somebody who may not, or for the second time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import uuid4

from ledger.model import Kind
from producers.envelope import sign
from producers.submit import Handed
from tests.integration.producers.scene import BILLING, CAREFUL, LOCAL, RELAY, RELAYED, STRANGER, Attack, Scene


def _asks(name: str, issuer: str, code: str = "not_allowed", key: str | None = None, **changes: object) -> Attack:
    """Ask properly for what one may not have."""
    return Attack(name, code, lambda scene: sign(scene.request(issuer, **changes), scene.key(key or issuer)), issuer)


def _at_the_limit(scene: Scene) -> str:
    for _ in range(3):
        scene.queued(BILLING)
    return scene.envelope()


def _purge_counts(scene: Scene) -> str:
    """Have two rollbacks and one purge within the hour, as rights were before."""
    runs = [scene.queued(BILLING) for _ in range(3)]
    scene.sql("UPDATE ledger.commands SET kind = 'purge', subject_run = 1 WHERE command_id = %s", (runs[0].command_id,))
    return scene.envelope()


def _other_content(scene: Scene) -> str:
    return scene.envelope(command_id=scene.queued(BILLING).command_id)


def _signed_anew(scene: Scene) -> str:
    """Sign the very same command with another time."""
    request = scene.request(reason="proper")
    scene.door.submit(sign(request, scene.key(BILLING)))
    return sign(replace(request, not_after=request.not_after.replace(microsecond=1)), scene.key(BILLING))


def _anothers_id(scene: Scene) -> str:
    """Take over the id of somebody else's command, everything else the same."""
    request = scene.request(CAREFUL, reason="proper")
    scene.door.submit(sign(request, scene.key(CAREFUL)))
    return sign(replace(request, issuer=BILLING), scene.key(BILLING))


def _id_before(scene: Scene) -> str:
    """The same, but the id in capitals."""
    run = scene.queued(CAREFUL)
    return scene.envelope(command_id=str(run.command_id).upper())


def _other_wish(scene: Scene, **changes: Any) -> Handed:  # noqa: ANN401 - any field of a request
    key = f"wish {uuid4()}"
    first = scene.door.submit(scene.envelope(reason="proper"), idempotency_key=key)
    subject: dict[str, Any] = {"subject_run": first.run} if changes.get("kind") is Kind.RECOVER else {}
    return Handed(scene.envelope(**{**changes, **subject}), key)


def _key(name: str, idempotency_key: str) -> Attack:
    return Attack(name, "bad_request", lambda scene: Handed(scene.envelope(), idempotency_key), BILLING)


ATTACKS = (
    # -- kind and target
    _asks("a stranger", STRANGER),
    _asks("a stranger on an unknown target", STRANGER, target="not_there"),
    _asks("a stranger about a run", STRANGER, kind=Kind.RECOVER, migration=None, subject_run=1),
    _asks("a kind without a right", BILLING, kind=Kind.VALIDATE, migration=None),
    _asks("a purge without a right", BILLING, kind=Kind.PURGE, migration=None, subject_run=1),
    _asks("a target without a right", BILLING, target="shop"),
    _asks("a target in capitals", BILLING, target="GOODBUY_HQ"),
    _asks("a target that only begins like it", BILLING, target="goodbuy-hq"),
    _asks("a target that only ends like it", BILLING, target="x.goodbuy_hq"),
    _asks("a target that the pattern means and nobody configured", BILLING, "unknown_target", target="goodbuy_x"),
    _asks("a pattern for a target", BILLING, "bad_name", target="goodbuy_*"),
    _asks("a star for a target", BILLING, "bad_name", target="*"),
    _asks("a set for a target", BILLING, "bad_name", target="goodbuy_[h]q"),
    _asks("a question mark for a target", BILLING, "bad_name", target="goodbuy_h?"),
    _asks("the monitor's target for a rollback", BILLING, target="canary"),
    _asks("the relay itself", RELAY),
    _asks("a relayed one on another target", RELAYED, key=RELAY, target="goodbuy_test"),
    _asks("a relayed one without rights", f"{RELAY}/eve", key=RELAY),
    _asks("a relayed one who may only approve", f"{RELAY}/grace", key=RELAY),
    _asks("a local operator with narrower rights", LOCAL, target="goodbuy_hq"),
    _asks("a local operator behind a name of their own", f"{LOCAL}/root", key=LOCAL),
    _asks("a local operator behind an empty name", f"{LOCAL}/", key=LOCAL, target="goodbuy_test"),
    # -- how much
    Attack("one more than the limit", "limit_reached", _at_the_limit, BILLING),
    Attack(
        "one more than the limit under an idempotency key",
        "limit_reached",
        lambda scene: Handed(_at_the_limit(scene), f"new {uuid4()}"),
        BILLING,
    ),
    Attack("a purge counts too", "limit_reached", _purge_counts, BILLING),
    # -- again
    Attack("the same id with another reason", "replayed", _other_content, BILLING),
    Attack("the same command signed anew", "replayed", _signed_anew, BILLING),
    Attack("the id of another's command", "replayed", _anothers_id, BILLING),
    Attack("the id of another's command in capitals", "replayed", _id_before, BILLING),
    Attack(
        "an idempotency key for another target",
        "replayed",
        lambda scene: _other_wish(scene, target="goodbuy_test"),
        BILLING,
    ),
    Attack(
        "an idempotency key for another kind",
        "replayed",
        lambda scene: _other_wish(scene, kind=Kind.RECOVER, migration=None),
        BILLING,
    ),
    Attack(
        "an idempotency key for another acceptance",
        "replayed",
        lambda scene: _other_wish(scene, accept_sha256="a" * 64),
        BILLING,
    ),
    # -- idempotency keys
    _key("an empty idempotency key", ""),
    _key("an idempotency key of 201 characters", "k" * 201),
    _key("an idempotency key of a megabyte", "k" * 1_000_000),
    _key("an idempotency key with a line break", "k\nX-Admin: 1"),
    _key("an idempotency key with a line break at its end", "k\n"),
    _key("an idempotency key with NUL", "k\0"),
    _key("an idempotency key with a space at its end", "k "),
    _key("an idempotency key in Cyrillic", "\u043a"),
    _key("an idempotency key with half of a surrogate pair", "\ud800"),
    Attack(
        "an idempotency key of its own for what is refused",
        "not_allowed",
        lambda scene: Handed(scene.envelope(STRANGER, command_id=uuid4()), "k"),
        STRANGER,
    ),
)
