"""What may go wrong, as classes; `code` is the word of Stepback's own list (docs/errors.md) where Stepback said it."""

from __future__ import annotations


class StepbackError(Exception):
    """Something did not work out; the message says what, and what to do next."""

    #: A lower-case word that programs may rely on.
    code: str = "internal_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class BadKey(StepbackError):
    """What was given for a key is no private Ed25519 key in PEM."""

    code = "bad_key"


class Refused(StepbackError):
    """Stepback decided not to do what was asked; nothing was changed, and asking the same again changes nothing."""

    code = "refused"


class NotTrusted(Refused):
    """The signature was not believed: an unknown, revoked or expired key, another issuer, another installation."""

    code = "bad_signature"


class NotAllowed(Refused):
    """The issuer does not have the right to this."""

    code = "not_allowed"


class NotFound(Refused):
    """There is no such run, target or migration, or the issuer may not see it."""

    code = "not_found"


class Conflict(Refused):
    """It contradicts what is there: another command under the same key, a run that cannot be approved any more."""

    code = "conflict"


class LimitReached(Refused):
    """The issuer asked for too much in too short a time."""

    code = "limit_reached"

    def __init__(self, message: str, *, code: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, code=code)
        #: Seconds after which it may be asked again; None where the gateway did not say.
        self.retry_after = retry_after


class Unavailable(StepbackError):
    """Nobody who could answer did so in time. What was sent may have arrived."""

    code = "unavailable"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        #: The signed command that was sent, if it was one: `Client.send` takes it again, and never makes a second run.
        self.envelope: str | None = None


class BadAnswer(StepbackError):
    """Something answered, but not as a gateway of Stepback does: is the URL right, is there a proxy in between?"""

    code = "bad_answer"
