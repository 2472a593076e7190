"""What an envelope claims is read without harm, whatever it is."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.gateway.claims import Claim, claimed


def envelope(payload: object) -> str:
    """Return what looks like an envelope."""
    return f"a.{urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip('=')}.c"


def test_a_claim_is_read() -> None:
    """Issuer and run."""
    assert claimed(envelope({"issuer": "service:billing", "run": 7})) == Claim("service:billing", 7)


@pytest.mark.parametrize("payload", [[], {"issuer": 7, "run": "7"}, {"issuer": "a\nb", "run": True}, {"issuer": ""}])
def test_what_claims_nothing_proper_claims_nothing(payload: object) -> None:
    """Neither an issuer that cannot be one nor a run that is no number."""
    assert claimed(envelope(payload)) == Claim()


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever it is."""
    assert isinstance(claimed(text), Claim)
