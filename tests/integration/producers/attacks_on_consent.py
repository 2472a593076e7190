"""Attacks on consent at the door; for those past it see tests/integration/worker/test_forgeries.py."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from joserfc.jwk import OKPKey

from ledger.database import transaction
from ledger.keys import register_key, revoke_key
from ledger.model import Run
from producers.envelope import sign
from producers.keys import PrivateKey
from producers.submit import Handed
from tests.integration.producers.forging import fields_of, signed
from tests.integration.producers.scene import (
    APPROVER,
    APPROVER_ELSEWHERE,
    BILLING,
    CAREFUL,
    IMPACT,
    LOCAL,
    MARK,
    RELAY,
    RELAYED,
    STRANGER,
    Attack,
    Scene,
)


def _approves(
    name: str,
    code: str,
    issuer: str = APPROVER,
    *,
    key: str | None = None,
    asked_by: str = CAREFUL,
    actor: str | None = None,
    **changes: object,
) -> Attack:
    """Approve a run that waits, properly signed, with some fields changed."""

    def make(scene: Scene) -> str:
        run = _waiting(scene, asked_by)
        return sign(scene.approval(run, issuer, **changes), scene.key(key or issuer))

    return Attack(name, code, make, actor or issuer, Scene.approve)


def _cancels(
    name: str, code: str, issuer: str = APPROVER, *, key: str | None = None, actor: str | None = None, **changes: object
) -> Attack:
    """Cancel a run that is queued, properly signed, with some fields changed."""

    def make(scene: Scene) -> str:
        return sign(scene.cancellation(scene.queued(), issuer, **changes), scene.key(key or issuer))

    return Attack(name, code, make, actor or issuer, Scene.cancel)


def _waiting(scene: Scene, asked_by: str) -> Run:
    if asked_by != RELAYED:
        return scene.waiting(asked_by)
    submitted = scene.door.submit(sign(scene.request(RELAYED, reason="proper"), scene.key(RELAY)))
    scene.await_again(scene.find(submitted.run), IMPACT)
    return scene.find(submitted.run)


def _of(door: Callable[[Scene, Handed], object], name: str, code: str, make: Callable[[Scene], str]) -> Attack:
    """Come to another door with something that was made otherwise."""
    return Attack(name, code, make, "unknown", door)


def _payload(scene: Scene, **changes: object) -> str:
    return signed(scene.key(APPROVER), fields_of(scene.approval(scene.waiting()), **changes))


def _without(scene: Scene, *names: str) -> str:
    fields = fields_of(scene.approval(scene.waiting()))
    return signed(scene.key(APPROVER), {key: value for key, value in fields.items() if key not in names})


def _replayed(scene: Scene) -> str:
    """Hand the approval of one impact in again after the run came to wait with another."""
    run = scene.waiting()
    envelope = sign(scene.approval(run, reason="proper"), scene.key(APPROVER))
    scene.approve(Handed(envelope))
    scene.await_again(run, "2b" * 32)
    return envelope


def _of_other_run(scene: Scene) -> str:
    """Sign for one run, with the number of another that waits as well."""
    one, other = scene.waiting(), scene.waiting()
    return sign(scene.approval(one, run=other.run), scene.key(APPROVER))


def _revoked_approver(scene: Scene) -> str:
    key = PrivateKey.of(OKPKey.generate_key("Ed25519"), APPROVER)
    with transaction(scene.engine) as conn:
        register_key(conn, key.key_id, APPROVER, key.public_key)
    envelope = sign(scene.approval(scene.waiting()), key)
    with transaction(scene.engine) as conn:
        revoke_key(conn, key.key_id, actor="local:ada")
    return envelope


def _past() -> dict[str, Any]:
    """Return the times of a statement that counted for a minute, two minutes ago."""
    at = datetime.now(UTC) - timedelta(minutes=2)
    return {"issued_at": at, "not_after": at + timedelta(minutes=1)}


ATTACKS = (
    # -- who approves
    _approves("the requester approves", "not_allowed", CAREFUL),
    _approves("the requester approves by a name behind the own", "not_allowed", f"{CAREFUL}/x", key=CAREFUL),
    _approves("a relay approves what it relayed", "not_allowed", f"{RELAY}/grace", key=RELAY, asked_by=RELAYED),
    _approves("the relayed one approves", "not_allowed", RELAYED, key=RELAY, asked_by=RELAYED),
    _approves("the relay's own name approves", "not_allowed", RELAY, asked_by=RELAYED),
    _approves("a stranger approves", "not_allowed", STRANGER),
    _approves("one who may ask approves", "not_allowed", BILLING),
    _approves("one whose patterns do not mean the target approves", "not_allowed", APPROVER_ELSEWHERE),
    _approves("a local operator with narrower rights approves", "not_allowed", LOCAL),
    _approves("the same by a name behind the own", "not_allowed", f"{LOCAL}/root", key=LOCAL),
    _approves("an approver's name under another key", "bad_signature", APPROVER, key=BILLING, actor="unknown"),
    Attack("a revoked approver", "bad_signature", _revoked_approver, door=Scene.approve),
    # -- what is approved
    _approves("another run that is not there", "unknown_run", run=4711),
    _approves("a run beyond numbers", "bad_request", run=2**63, actor="unknown"),
    _approves("a canary's run", "bad_request", run=-1, actor="unknown"),
    _approves("another command", "unknown_run", command_id=uuid4()),
    _approves("another target", "unknown_run", target="goodbuy_test"),
    _approves("a target that is no name", "unknown_run", target=f"' OR 1=1 -- {MARK}"),
    _approves("a target with NUL in an approval", "unknown_run", target="\0"),
    _approves("another impact", "impact_changed", impact_sha256="2b" * 32),
    _approves("another plan in an approval", "impact_changed", plan_sha256="2b" * 32),
    _approves("no plan", "impact_changed", plan_sha256=None),
    _approves("an impact in capitals", "bad_request", impact_sha256=IMPACT.upper(), actor="unknown"),
    _approves("an impact with a line break", "bad_request", impact_sha256=f"{IMPACT}\n", actor="unknown"),
    Attack("the number of another run that waits", "unknown_run", _of_other_run, APPROVER, Scene.approve),
    Attack("an approval from before the impact changed", "impact_changed", _replayed, APPROVER, Scene.approve),
    Attack(
        "a run that does not wait",
        "not_awaiting",
        lambda scene: sign(scene.approval(scene.queued()), scene.key(APPROVER)),
        APPROVER,
        Scene.approve,
    ),
    Attack(
        "a run that has ended",
        "not_awaiting",
        lambda scene: sign(scene.approval(scene.ended()), scene.key(APPROVER)),
        APPROVER,
        Scene.approve,
    ),
    # -- when, and for whom
    _approves("an approval whose time has passed", "expired", **_past()),
    _approves(
        "an approval from the future",
        "expired",
        issued_at=datetime.now(UTC) + timedelta(hours=3),
        not_after=datetime.now(UTC) + timedelta(hours=4),
    ),
    _approves(
        "an approval for two days", "bad_request", not_after=datetime.now(UTC) + timedelta(days=2), actor="unknown"
    ),
    _approves("an approval for another installation", "bad_signature", audience=str(uuid4())),
    _approves("an approval with a line break", "bad_name", reason=f"{MARK}\nx", actor="unknown"),
    # -- one statement for another
    _of(Scene.approve, "a command as an approval", "bad_request", lambda s: s.envelope()),
    _of(
        Scene.approve,
        "a cancellation as an approval",
        "bad_request",
        lambda s: sign(s.cancellation(s.waiting()), s.key(APPROVER)),
    ),
    _of(Scene.approve, "an access token as an approval", "bad_request", lambda s: sign(s.access(), s.key(BILLING))),
    _of(
        Scene.approve,
        "an approval that says it is a cancellation",
        "bad_request",
        lambda s: _payload(s, statement="cancellation"),
    ),
    _of(Scene.approve, "an approval that does not say what it is", "bad_request", lambda s: _without(s, "statement")),
    _of(Scene.approve, "an approval of no impact", "bad_request", lambda s: _without(s, "impact_sha256")),
    _of(Scene.approve, "an approval with a field of its own", "bad_request", lambda s: _payload(s, admin=True)),
    _of(Scene.approve, "an approval of a float", "bad_request", lambda s: _payload(s, run=1.0)),
    _of(Scene.approve, "an approval of true", "bad_request", lambda s: _payload(s, run=True)),
    _of(Scene.approve, "no approval at all", "bad_signature", lambda _: MARK),
    _of(Scene.cancel, "a command as a cancellation", "bad_request", lambda s: s.envelope()),
    _of(
        Scene.cancel,
        "an approval as a cancellation",
        "bad_request",
        lambda s: sign(s.approval(s.waiting()), s.key(APPROVER)),
    ),
    _of(Scene.cancel, "an access token as a cancellation", "bad_request", lambda s: sign(s.access(), s.key(BILLING))),
    _of(Scene.cancel, "no cancellation at all", "bad_signature", lambda _: MARK),
    # -- cancellations
    _cancels("a stranger cancels", "not_allowed", STRANGER),
    _cancels("one who may ask cancels", "not_allowed", BILLING),
    _cancels("one whose patterns do not mean the target cancels", "not_allowed", APPROVER_ELSEWHERE),
    _cancels("a name behind the requester's cancels", "not_allowed", f"{BILLING}/x", key=BILLING),
    _cancels("a canceller's name under another key", "bad_signature", APPROVER, key=BILLING, actor="unknown"),
    _cancels("a cancellation of another run", "unknown_run", run=4711),
    _cancels("a cancellation of another command", "unknown_run", command_id=uuid4()),
    _cancels("a cancellation of another target", "unknown_run", target="goodbuy_test"),
    _cancels("a cancellation for another installation", "bad_signature", audience=str(uuid4())),
    _cancels("a cancellation whose time has passed", "expired", **_past()),
    _cancels(
        "a cancellation for two hours", "bad_request", not_after=datetime.now(UTC) + timedelta(hours=2), actor="unknown"
    ),
    _cancels("a cancellation that turns the line", "bad_name", reason=f"{MARK}\u202ex", actor="unknown"),
    Attack(
        "a cancellation of a run that has ended",
        "not_awaiting",
        lambda scene: sign(scene.cancellation(scene.ended()), scene.key(APPROVER)),
        APPROVER,
        Scene.cancel,
    ),
)
