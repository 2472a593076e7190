"""Rights: what an issuer of commands may ask for, as the configuration says. What is not named is not allowed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ledger.errors import NotAllowed
from ledger.model import ALWAYS_APPROVED, DESTRUCTIVE, Kind
from ledger.settings import ProducerSettings, Settings

#: How the keys that `producers/keys.py` makes for whoever runs the command line are called.
LOCAL = "local:"
#: The monitor's own command touches nothing: whoever has a key may send it.
_HARMLESS = frozenset({Kind.CANARY})
#: What changes a target: to look is never a matter of approval.
_CHANGING = frozenset({Kind.ROLLBACK, Kind.RECOVER, Kind.PURGE})
_EVERYTHING = ProducerSettings(
    kinds=frozenset({"rollback", "recover", "validate", "purge"}), targets=("*",), approves=("*",)
)


@dataclass(frozen=True)
class Rights:
    """What one issuer may do."""

    issuer: str
    _granted: ProducerSettings
    #: Whether there is no limit to how much.
    _unlimited: bool

    @classmethod
    def of(cls, settings: Settings, issuer: str) -> Rights:
        """Return the rights of an issuer: none, unless they are named or are the local operator's.

        Args:
            settings: Their [producers] and [trust].
            issuer: As the signature says.
        """
        if issuer in settings.producers:
            return cls(issuer, settings.producers[issuer], _unlimited=False)
        # Who runs the command line speaks for nobody else: a name behind theirs would shed what is configured for them.
        if issuer.startswith(LOCAL) and "/" not in issuer and trusts_local_operator(settings):
            return cls(issuer, _EVERYTHING, _unlimited=True)
        return cls(issuer, ProducerSettings(), _unlimited=False)

    def check(self, kind: Kind, target: str) -> None:
        """See that a kind of command about a target may be asked for.

        Raises:
            NotAllowed: It may not; the message says what to configure.
        """
        if kind in _HARMLESS or (kind.value in self._granted.kinds and _meets(target, self._granted.targets)):
            return
        raise NotAllowed(
            f"{self.issuer} may not ask for a {kind.value} on {target}; rights are given in stepback.toml, under"
            f' [producers."{self.issuer}"]'
        )

    def limit(self, kind: Kind) -> int | None:
        """Return how many destructive commands it may give about a target within an hour; None: no limit."""
        return None if self._unlimited or kind not in DESTRUCTIVE else self._granted.destructive_per_hour

    def needs_approval(self, kind: Kind) -> bool:
        """Return whether somebody else has to approve what it asks for."""
        return kind in ALWAYS_APPROVED or (self._granted.approval and kind in _CHANGING)

    def check_consent(self, target: str, requested_by: str, *, to: str) -> None:
        """See that it may approve or cancel a run about a target.

        Raises:
            NotAllowed: It may not.
        """
        # Nobody needs a right to take back what is their own.
        own = to == "cancel" and requested_by == self.issuer
        if not own and not self.may_approve(target):
            raise NotAllowed(
                f"{self.issuer} may not {to} a run on {target}; that right is given in stepback.toml, by approves"
                f' under [producers."{self.issuer}"]'
            )

    def may_approve(self, target: str) -> bool:
        """Return whether it may approve and cancel what others ask for about a target."""
        return _meets(target, self._granted.approves)

    def may_see(self, target: str) -> bool:
        """Return whether it may read about the runs and plans of a target."""
        return _meets(target, (*self._granted.targets, *self._granted.approves))


def trusts_local_operator(settings: Settings) -> bool:
    """Return whether whoever runs the command line here has every right."""
    # "embedded" is decided where it is known which servers are Stepback's own: stepback/installation.py.
    return settings.trust.local_operator == "all"


def same_party(one: str, other: str) -> bool:
    """Return whether two issuers are behind one key, as ledger.same_party does: a relay speaks for several."""
    return one.split("/", 1)[0] == other.split("/", 1)[0]


def _meets(target: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(target, pattern) for pattern in patterns)
