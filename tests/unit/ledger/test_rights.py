"""Rights: what is not named is not allowed."""

from __future__ import annotations

import pytest

from ledger.errors import NotAllowed
from ledger.model import Kind
from ledger.rights import Rights, same_party
from ledger.settings import ProducerSettings, Settings, TrustSettings

_BILLING = ProducerSettings(
    kinds=frozenset({"rollback", "recover"}),
    targets=("shop_*", "bank"),
    destructive_per_hour=3,
    approval=True,
    approves=("sh[aeiou]p",),
)
_NOBODY = Settings(producers={"service:billing": _BILLING})
_LOCAL = Settings(producers={"service:billing": _BILLING}, trust=TrustSettings(local_operator="all"))


@pytest.mark.parametrize(
    ("issuer", "kind", "target", "may"),
    [
        ("service:billing", Kind.ROLLBACK, "shop_eu", True),
        ("service:billing", Kind.RECOVER, "bank", True),
        ("service:billing", Kind.VALIDATE, "shop_eu", False),
        ("service:billing", Kind.PURGE, "shop_eu", False),
        ("service:billing", Kind.ROLLBACK, "shop", False),
        ("service:billing", Kind.ROLLBACK, "SHOP_eu", False),
        ("service:billing", Kind.ROLLBACK, "bank2", False),
        ("service:billing/ada", Kind.ROLLBACK, "bank", False),
        ("service:bill", Kind.ROLLBACK, "bank", False),
        ("service:other", Kind.ROLLBACK, "bank", False),
        ("local:ada", Kind.ROLLBACK, "bank", False),
        ("service:other", Kind.CANARY, "canary", True),
    ],
)
def test_what_is_not_named_is_not_allowed(issuer: str, kind: Kind, target: str, *, may: bool) -> None:
    """Neither kinds nor targets nor issuers; a canary touches nothing."""
    rights = Rights.of(_NOBODY, issuer)

    if may:
        rights.check(kind, target)
    else:
        with pytest.raises(NotAllowed, match=r"stepback\.toml"):
            rights.check(kind, target)


@pytest.mark.parametrize("kind", Kind)
def test_the_local_operator_may_do_everything_where_that_is_said(kind: Kind) -> None:
    """Without a limit; but not what always needs somebody else."""
    rights = Rights.of(_LOCAL, "local:ada")

    rights.check(kind, "anything")
    assert rights.limit(kind) is None
    assert rights.needs_approval(kind) is (kind is Kind.PURGE)
    assert rights.may_approve("anything")


def test_whoever_is_named_has_what_is_named() -> None:
    """Even a local operator who would have had everything."""
    named = Settings(producers={"local:ada": _BILLING}, trust=TrustSettings(local_operator="all"))

    with pytest.raises(NotAllowed):
        Rights.of(named, "local:ada").check(Kind.PURGE, "bank")


@pytest.mark.parametrize(
    ("kind", "limit", "waits"),
    [(Kind.ROLLBACK, 3, True), (Kind.PURGE, 3, True), (Kind.RECOVER, None, True), (Kind.VALIDATE, None, False)],
)
def test_limits_and_approvals_are_of_what_changes_something(kind: Kind, limit: int | None, *, waits: bool) -> None:
    """Destructive commands have a limit; to look is never a matter of approval."""
    rights = Rights.of(_NOBODY, "service:billing")

    assert (rights.limit(kind), rights.needs_approval(kind)) == (limit, waits)


@pytest.mark.parametrize(
    ("target", "requested_by", "to", "may"),
    [
        ("shop", "service:other", "approve", True),
        ("shop", "service:other", "cancel", True),
        ("bank", "service:other", "approve", False),
        ("bank", "service:other", "cancel", False),
        # One's own may be cancelled without any right.
        ("bank", "service:billing", "cancel", True),
        ("bank", "service:billing", "approve", False),
    ],
)
def test_consent_is_a_right_of_its_own(target: str, requested_by: str, to: str, *, may: bool) -> None:
    """To ask for something about a target is not to approve it."""
    rights = Rights.of(_NOBODY, "service:billing")

    if may:
        rights.check_consent(target, requested_by, to=to)
    else:
        with pytest.raises(NotAllowed, match=to):
            rights.check_consent(target, requested_by, to=to)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("outbox:shop", "outbox:shop/ada", True),
        ("outbox:shop/ada", "outbox:shop/bob", True),
        ("local:ada", "local:ada", True),
        ("local:ada", "local:adam", False),
        ("outbox:shop", "outbox:shop2/ada", False),
    ],
)
def test_names_behind_one_key_are_one_party(one: str, other: str, *, same: bool) -> None:
    """What one of them asks for, none of them approves."""
    assert same_party(one, other) is same
