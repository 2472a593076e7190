"""What is signed: statements as strict JSON in a compact JWS, whose header says Ed25519 and the key's id only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from joserfc import jws

from stepback_client.keys import SigningKey

#: The one algorithm that Stepback accepts, by its fully specified name (RFC 9864).
_ALGORITHM = "Ed25519"


@dataclass(frozen=True)
class Signer:
    """Speaks as an issuer."""

    key: SigningKey
    #: The name that the key is registered for; or, for a relay, that name with "/" and another's behind it.
    issuer: str

    def sign(self, fields: Mapping[str, object], *, audience: str, valid_for: timedelta) -> str:
        """Return a statement with who signs it, for whom, when and until when.

        Args:
            fields: What it says; None is left out.
            audience: The id of the installation that is meant; no other accepts it.
            valid_for: How long from now it may be acted upon.

        Raises:
            ValueError: A text in it is not valid Unicode, or the time is not a positive one.
        """
        if valid_for <= timedelta(0):
            raise ValueError("valid_for has to be a positive time")
        now = datetime.now(UTC)
        statement = {
            **{name: value for name, value in fields.items() if value is not None},
            "audience": audience,
            "issuer": self.issuer,
            "issued_at": _rfc3339(now),
            "not_after": _rfc3339(now + valid_for),
        }
        header = {"alg": _ALGORITHM, "kid": self.key.key_id}
        payload = json.dumps(statement, ensure_ascii=False, allow_nan=False).encode()
        return jws.serialize_compact(header, payload, self.key.okp, algorithms=[_ALGORITHM])


def _rfc3339(time: datetime) -> str:
    return time.isoformat(timespec="microseconds").replace("+00:00", "Z")
