"""Asks Stepback to undo PostgreSQL schema changes, over HTTP, with commands signed by a key of one's own."""

from stepback_client.client import Client
from stepback_client.errors import (
    BadAnswer,
    BadKey,
    Conflict,
    LimitReached,
    NotAllowed,
    NotFound,
    NotTrusted,
    Refused,
    StepbackError,
    Unavailable,
)
from stepback_client.keys import SigningKey
from stepback_client.results import Event, Run, RunError, StillWaiting, Submitted

__all__ = [
    "BadAnswer",
    "BadKey",
    "Client",
    "Conflict",
    "Event",
    "LimitReached",
    "NotAllowed",
    "NotFound",
    "NotTrusted",
    "Refused",
    "Run",
    "RunError",
    "SigningKey",
    "StepbackError",
    "StillWaiting",
    "Submitted",
    "Unavailable",
]
