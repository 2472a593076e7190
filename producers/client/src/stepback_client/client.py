"""The client: a gateway's address, a key, and what may be asked with them."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias
from urllib.parse import quote
from uuid import uuid4

import httpx

from stepback_client import sse
from stepback_client.errors import BadAnswer, Unavailable
from stepback_client.keys import SigningKey
from stepback_client.results import Event, Run, StillWaiting, Submitted
from stepback_client.statements import Signer
from stepback_client.transport import Transport

Kind: TypeAlias = Literal["rollback", "recover", "validate", "purge"]
Policy: TypeAlias = Literal["skip", "overwrite", "aside"]

#: How long a command may wait for its begin, unless it is said otherwise; Stepback takes 24 hours at most.
VALID_FOR: Final = timedelta(hours=1)
#: How long an approval or a cancellation may be acted upon.
_DECISION_FOR: Final = timedelta(minutes=10)
#: How long a token for reading can be used; one is made for each request.
_TOKEN_FOR: Final = timedelta(minutes=5)
#: Pauses between two looks at a run, in seconds.
_FIRST_LOOK: Final = 0.2
_LAST_LOOK: Final = 2.0
#: How often in a row a stream of events may break off at once, and what is not at once, in seconds.
_BREAKS: Final = 5
_LIVED_SECONDS: Final = 10.0

_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]([ -~]{0,198}[!-~])?")


class Client:
    """Speaks to one gateway of Stepback as one issuer. Any number of threads may use it at once.

    ```python
    with Client("https://stepback.example", key=Path("billing.pem"), issuer="service:billing") as client:
        submitted = client.rollback("add_health_alerts", target="goodbuy_hq", reason="bad release")
        run = client.wait(submitted.run, timeout=300)
    ```

    Every method raises `Refused` (with Stepback's code) for what Stepback decides against, `Unavailable` where nobody
    answers within the timeout, and `BadAnswer` where something else than a gateway does.
    """

    def __init__(
        self,
        url: str,
        *,
        key: Path | bytes,
        issuer: str,
        installation: str | None = None,
        timeout: float = 30.0,
        http: httpx.Client | None = None,
    ) -> None:
        """Prepare it; nothing is sent yet.

        Args:
            url: Of the gateway, such as `https://stepback.example`.
            key: The private key's file, or its PEM.
            issuer: The name that the key is registered for.
            installation: The id of the installation that is meant, as `GET /v1/installation` tells it; None believes
                whatever answers at the URL.
            timeout: How long each request may take with all its tries, in seconds.
            http: A client of one's own, for its certificates or proxies; it is not closed here.

        Raises:
            BadKey: The key cannot be read.
            ValueError: The URL is none of HTTP.
        """
        self._signer = Signer(SigningKey.read(key), issuer)
        self._transport = Transport(url, timeout=timeout, http=http)
        self._installation = installation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._transport.__exit__(kind, error, traceback)

    def close(self) -> None:
        """Let go of its connections."""
        self.__exit__(None, None, None)

    @property
    def key_id(self) -> str:
        """The id that the key is registered under."""
        return self._signer.key.key_id

    @property
    def installation(self) -> str:
        """The id of the installation; asked for once, unless it was given."""
        if self._installation is None:
            self._installation = _text(self._transport.send("GET", "/v1/installation"), "installation")
        return self._installation

    # -- asking -----------------------------------------------------------------

    def rollback(
        self,
        migration: str,
        *,
        target: str,
        reason: str,
        plan_sha256: str | None = None,
        accept_sha256: str | None = None,
        idempotency_key: str | None = None,
        valid_for: timedelta = VALID_FOR,
    ) -> Submitted:
        """Ask for a migration to be rolled back.

        Args:
            migration: What to roll back.
            target: Configured name of the database.
            reason: Why, for those who read it later: one line, at most 500 characters.
            plan_sha256: Of the plan that is meant; None takes the plan as it is.
            accept_sha256: Of the impact that may go along though the plan does not name all of it.
            idempotency_key: A name of one's own for the command, 1 to 200 printable ASCII characters: whoever asks the
                same under the same name again, after a crash for instance, gets the same run.
            valid_for: How long it may wait for its begin, at most 24 hours.
        """
        return self.submit(
            "rollback",
            target=target,
            migration=migration,
            reason=reason,
            plan_sha256=plan_sha256,
            accept_sha256=accept_sha256,
            idempotency_key=idempotency_key,
            valid_for=valid_for,
        )

    def recover(
        self,
        run: int,
        *,
        reason: str,
        target: str | None = None,
        policy: Policy | None = None,
        idempotency_key: str | None = None,
        valid_for: timedelta = VALID_FOR,
    ) -> Submitted:
        """Ask for a completed rollback to be undone.

        Args:
            run: The rollback.
            reason: Why.
            target: The run's; None looks it up, which needs the right to see the run.
            policy: Which row wins where a preserved one meets a newer one; None: the newer one stays.
            idempotency_key: As for `rollback`.
            valid_for: As for `rollback`.
        """
        return self.submit(
            "recover",
            target=target or self.status(run).target,
            run=run,
            reason=reason,
            policy=policy,
            idempotency_key=idempotency_key,
            valid_for=valid_for,
        )

    def submit(
        self,
        kind: Kind,
        *,
        target: str,
        reason: str,
        migration: str | None = None,
        run: int | None = None,
        plan_sha256: str | None = None,
        accept_sha256: str | None = None,
        policy: Policy | None = None,
        idempotency_key: str | None = None,
        valid_for: timedelta = VALID_FOR,
    ) -> Submitted:
        """Ask for anything; what each kind needs, and may not have, Stepback says."""
        envelope = self.sign(
            kind,
            target=target,
            reason=reason,
            migration=migration,
            run=run,
            plan_sha256=plan_sha256,
            accept_sha256=accept_sha256,
            policy=policy,
            valid_for=valid_for,
        )
        return self.send(envelope, idempotency_key=idempotency_key)

    def sign(
        self,
        kind: Kind,
        *,
        target: str,
        reason: str,
        migration: str | None = None,
        run: int | None = None,
        plan_sha256: str | None = None,
        accept_sha256: str | None = None,
        policy: Policy | None = None,
        valid_for: timedelta = VALID_FOR,
    ) -> str:
        """Return a signed command, to be kept before it is sent: sent again, it is the same command."""
        fields = {
            "kind": kind,
            "target": target,
            "migration": migration,
            "subject_run": run,
            "reason": reason,
            "plan_sha256": plan_sha256,
            "accept_sha256": accept_sha256,
            "policy": policy,
            "command_id": str(uuid4()),
        }
        return self._signer.sign(fields, audience=self.installation, valid_for=valid_for)

    def send(self, envelope: str, *, idempotency_key: str | None = None) -> Submitted:
        """Hand in what `sign` gave. However often it is sent, it is one command and one run.

        Raises:
            Unavailable: Nobody answered; its `envelope` may be sent again.
            ValueError: The idempotency key cannot be one.
        """
        if idempotency_key is not None and not _IDEMPOTENCY_KEY.fullmatch(idempotency_key):
            raise ValueError("idempotency_key has to be 1 to 200 printable ASCII characters, no space at either end")
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        try:
            return Submitted.of(
                self._transport.send("POST", "/v1/commands", json={"envelope": envelope}, headers=lambda: headers)
            )
        except Unavailable as error:
            error.envelope = envelope
            raise

    # -- looking ----------------------------------------------------------------

    def status(self, run: int) -> Run:
        """Return a run as it stands now.

        Raises:
            NotFound: There is none, or the issuer may not see it.
        """
        return Run.of(self._transport.send("GET", f"/v1/runs/{int(run)}", headers=self._token))

    def plan(self, migration: str, *, target: str) -> Mapping[str, Any]:
        """Return what a rollback would do, as `stepback plan --json` prints it: statements, impact, locks, refusals.

        Raises:
            NotFound: There is no such plan, or the issuer may not see it.
        """
        path = f"/v1/targets/{quote(target, safe='')}/plans/{quote(migration, safe='')}"
        return self._transport.send("GET", path, headers=self._token)

    def wait(self, run: int, timeout: float) -> Run:
        """Return a run once it has ended, however it did: look at `completed` and `error`.

        Args:
            run: Its number.
            timeout: In seconds; the run goes on when it is over.

        Raises:
            StillWaiting: It has not ended; perhaps its `run` awaits an approval.
            Unavailable: Nobody answers at the end of that time.
        """
        deadline = time.monotonic() + timeout
        pause = _FIRST_LOOK
        while True:
            try:
                found = self.status(run)
            except Unavailable:
                # A gateway that is put up anew: the run goes on meanwhile.
                if time.monotonic() >= deadline:
                    raise
            else:
                if found.ended:
                    return found
                if time.monotonic() >= deadline:
                    raise StillWaiting(f"run {run} is {found.state} after {timeout:g} s, and goes on", run=found)
            time.sleep(max(0, min(pause, deadline - time.monotonic())))
            pause = min(1.5 * pause, _LAST_LOOK)

    def events(self, run: int, *, after: int = 0) -> Iterator[Event]:
        """Give what happens to a run as it happens, until it has ended. A connection that breaks is made again.

        Args:
            run: Its number.
            after: The `seq` of the last event that is known already.
        """
        breaks = 0
        over = self.status(run).ended
        while True:
            began = time.monotonic()
            try:
                for event in self._stream(run, after):
                    after, breaks = event.seq, 0
                    yield event
                if over:
                    return
                # By the end of the run, of the token, of the gateway or of a proxy's patience; once the run has ended,
                # one more look finds what came in between.
                over = self.status(run).ended
                if over:
                    continue
                broken = Unavailable("the stream of events ends before the run does; ask again with `after`")
            except Unavailable as error:
                broken = error
            breaks = 1 if time.monotonic() - began > _LIVED_SECONDS else breaks + 1
            if breaks >= _BREAKS:
                raise broken
            time.sleep(_FIRST_LOOK * 2**breaks)

    def _stream(self, run: int, after: int) -> Iterator[Event]:
        headers = {**self._token(), **({"Last-Event-ID": str(after)} if after else {})}
        with self._transport.stream(f"/v1/runs/{int(run)}/events", headers=headers) as chunks:
            for seq, data in sse.read(chunks):
                try:
                    document = json.loads(data)
                except ValueError:
                    document = None
                yield Event.of(seq, document)

    # -- deciding ---------------------------------------------------------------

    def approve(self, run: int | Run, reason: str) -> Run:
        """Approve a run that awaits it, with exactly the plan and the impact that it has now.

        Args:
            run: Its number; or the run as it was looked at, so that what is approved is what was seen.
            reason: Why.

        Raises:
            NotAllowed: The issuer may not, or has asked for the run itself.
            Conflict: The run does not await an approval, or not of this plan and impact.
            Unavailable: The approval may have arrived; look at the run again.
        """
        seen = run if isinstance(run, Run) else self.status(run)
        fields = {"plan_sha256": seen.plan_sha256, "impact_sha256": seen.impact_sha256}
        return self._decide("approval", "approvals", seen, reason, fields)

    def cancel(self, run: int | Run, reason: str) -> Run:
        """Cancel a run that has not committed yet.

        Args:
            run: Its number, or the run itself.
            reason: Why.

        Raises:
            NotAllowed: The issuer may not.
            Conflict: It has ended, or cannot be held any more.
            Unavailable: The cancellation may have arrived; look at the run again.
        """
        seen = run if isinstance(run, Run) else self.status(run)
        return self._decide("cancellation", "cancel", seen, reason, {})

    def _decide(self, statement: str, resource: str, run: Run, reason: str, fields: Mapping[str, str | None]) -> Run:
        about = {
            "statement": statement,
            "command_id": str(run.command_id),
            "run": run.run,
            "target": run.target,
            "reason": reason,
        }
        envelope = self._signer.sign({**about, **fields}, audience=self.installation, valid_for=_DECISION_FOR)
        path = f"/v1/runs/{run.run}/{resource}"
        return Run.of(self._transport.send("POST", path, json={"envelope": envelope}, headers=self._token))

    def _token(self) -> Mapping[str, str]:
        """Make a token for reading."""
        token = self._signer.sign({"statement": "access"}, audience=self.installation, valid_for=_TOKEN_FOR)
        return {"Authorization": f"Bearer {token}"}


def _text(document: Mapping[str, Any], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str):
        raise BadAnswer(f"the answer has no {key}; see that the URL is that of a gateway")
    return value
