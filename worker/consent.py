"""Whether a run may go on: asked for by somebody who may, approved where that is needed, and not cancelled since.

The door has verified all of this. It is verified again here, from the signed texts and this worker's own configuration,
so that whoever can write into the ledger, and cannot sign, moves nothing in a target.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from uuid import UUID

from sqlalchemy import Connection

from ledger import consent, keys, runs
from ledger.commands import is_expired
from ledger.envelope import believe, open_envelope, open_statement
from ledger.errors import BadSignature, Cancelled, Expired, NeedsApproval, Refused
from ledger.keys import SigningKey
from ledger.model import Kind
from ledger.request import Request
from ledger.rights import Rights, same_party
from ledger.runs import Claim
from ledger.settings import Settings
from ledger.statements import Approval, Cancellation


@dataclass(frozen=True)
class Consent:
    """What one attempt has to be sure of."""

    claim: Claim
    settings: Settings
    installation: UUID

    def check_asked(self, conn: Connection) -> None:
        """See that the command is what somebody signed who may ask for it.

        Raises:
            BadSignature: It is not, or the key was revoked since.
            NotAllowed: The issuer has no right to it, as this worker is configured.
        """
        command = self.claim.command
        request = open_envelope(self.claim.envelope, partial(self._key_then, conn))
        if not _is_that(request, self.claim, self.installation) or not _is_about(conn, request, self.claim):
            raise BadSignature("the command in the ledger is not the one that was signed; somebody has changed it")
        Rights.of(self.settings, request.issuer).check(command.kind, command.target)

    def _key_then(self, conn: Connection, key_id: str) -> SigningKey | None:
        """Find a key as it was when the command came in, but for its revocation: that is because it is distrusted."""
        key = keys.find_key(conn, key_id)
        if key is None or key.expires_at is None:
            return key
        return replace(key, expired=key.expires_at <= self.claim.submitted_at)

    def check_wanted(self, conn: Connection) -> None:
        """See that the run's time has not passed, and that nobody has cancelled it.

        Raises:
            Expired: Its time has passed.
            Cancelled: Somebody has who may.
        """
        self.check_not_cancelled(conn)
        if is_expired(conn, self.claim.command.not_after):
            raise Expired("the time until which the command could be begun has passed; ask again")

    def check_not_cancelled(self, conn: Connection) -> None:
        """See that nobody has cancelled the run.

        Raises:
            Cancelled: Somebody has who may. A cancellation that nobody signed counts for nothing.
        """
        for envelope in consent.cancellations(conn, self.claim.run):
            try:
                # Its own time is that of handing it in: a wish to stop does not lapse.
                stop = open_statement(Cancellation, envelope, partial(keys.find_key, conn))
                Rights.of(self.settings, stop.issuer).check_consent(
                    self.claim.command.target, self.claim.command.requested_by, to="cancel"
                )
            except Refused:
                continue
            if self._is_of_this_run(stop):
                raise Cancelled(f"it was cancelled by {stop.issuer} before it changed anything")

    @property
    def needs_approval(self) -> bool:
        """Whether somebody else has to approve the run."""
        command = self.claim.command
        return command.needs_approval or Rights.of(self.settings, command.requested_by).needs_approval(command.kind)

    def check_approved(self, conn: Connection, *, plan_sha256: str | None, impact_sha256: str) -> None:
        """See that somebody has approved this very plan with this very impact.

        Raises:
            NeedsApproval: Nobody has, or what was approved is not this, or not any more.
        """
        if not self.needs_approval:
            return
        why = "nobody has approved it yet"
        for envelope in consent.approvals(conn, self.claim.run):
            try:
                approval = believe(conn, Approval, envelope, self.installation)
                self._check_approver(approval)
            except Refused as error:
                why = error.message
                continue
            if not self._is_of_this_run(approval):
                why = "the approval is that of another run"
            elif (approval.plan_sha256, approval.impact_sha256) != (plan_sha256, impact_sha256):
                why = "what was approved is not what the run would do now"
            else:
                return
        run = self.claim.run
        raise NeedsApproval(
            f"run {run} waits for an approval: {why}; `stepback show {run}` tells what it would do, and somebody other"
            f" than {self.claim.command.requested_by} lets it with `stepback approve {run}`"
        )

    def _is_of_this_run(self, said: Approval | Cancellation) -> bool:
        """Return whether run, command and target are this one's; the door compares the same."""
        command = self.claim.command
        return (said.run, said.command_id, said.target) == (self.claim.run, command.command_id, command.target)

    def _check_approver(self, approval: Approval) -> None:
        command = self.claim.command
        if same_party(approval.issuer, command.requested_by):
            raise NeedsApproval("whoever asked has approved it")
        Rights.of(self.settings, approval.issuer).check_consent(command.target, command.requested_by, to="approve")


def _is_that(request: Request, claim: Claim, installation: UUID) -> bool:
    command = claim.command
    asked = (
        request.audience,
        request.command_id,
        request.kind,
        request.target,
        request.subject_run,
        request.issuer,
        request.reason,
        request.not_after,
        request.accept_sha256,
        request.policy,
        request.conditions,
        request.report,
    )
    written = (
        str(installation),
        command.command_id,
        command.kind,
        command.target,
        command.subject_run,
        command.requested_by,
        command.reason,
        command.not_after,
        command.accept_sha256,
        command.policy,
        None if command.conditions is None else dict(command.conditions),
        command.report,
    )
    return asked == written and request.plan_sha256 in {None, command.plan_sha256}


def _is_about(conn: Connection, request: Request, claim: Claim) -> bool:
    """Return whether the migration is what was signed, or that of the run which was."""
    if request.migration is not None or request.kind is Kind.ROLLBACK or claim.command.subject_run is None:
        return request.migration == claim.command.migration
    return runs.find(conn, claim.command.subject_run).migration == claim.command.migration
