"""Requests to the gateway: tried again as long as that may help and the time lasts, and answered by our own errors."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self

import httpx

from stepback_client.errors import (
    BadAnswer,
    Conflict,
    LimitReached,
    NotAllowed,
    NotFound,
    NotTrusted,
    Refused,
    StepbackError,
    Unavailable,
)

#: Longest single try, so that a gateway that hangs is asked a second time; and to be connected, in seconds.
_TRY_SECONDS: Final = 10.0
_CONNECT_SECONDS: Final = 5.0
#: Pauses between tries, in seconds: doubled each time, and drawn at random, so that clients do not march in step.
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0
#: A stream that is silent for longer is asked for again, in seconds.
_SILENCE_SECONDS: Final = 60.0

#: Somebody in between, or behind, does not answer just now.
_AWAY: Final = frozenset({502, 503, 504})
_REFUSED: Final[Mapping[int, type[Refused]]] = {401: NotTrusted, 403: NotAllowed, 404: NotFound, 409: Conflict}
#: Longest message and code that is taken from an answer, in characters.
_LONGEST_MESSAGE: Final = 2000
_LONGEST_CODE: Final = 100


class Transport:
    """The way to one gateway."""

    def __init__(self, url: str, *, timeout: float, http: httpx.Client | None) -> None:
        """Prepare it; nothing is sent.

        Args:
            url: Of the gateway, with a path where a proxy puts one in front of `/v1`.
            timeout: How long a request may take with all its tries, in seconds.
            http: A client of one's own, which its owner closes; None makes one.

        Raises:
            ValueError: The URL is none of HTTP, or it holds a password: what is signed needs none.
        """
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            parsed = httpx.URL()
        if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo:
            raise ValueError("url has to be that of a gateway, http:// or https://, without a user and a password")
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._http = http or httpx.Client()
        self._closing = contextlib.nullcontext() if http else contextlib.closing(self._http)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.__exit__(kind, error, traceback)

    def send(
        self,
        method: str,
        path: str,
        *,
        json: Mapping[str, object] | None = None,
        headers: Callable[[], Mapping[str, str]] = dict,
    ) -> Mapping[str, Any]:
        """Return the document that the gateway answers with. What is sent again is the same, byte for byte.

        Whatever is asked may arrive twice: Stepback knows a command or a decision again by its envelope.

        Args:
            method: Of HTTP.
            path: Below the gateway's URL.
            json: The body.
            headers: Gives them anew for each try: tokens live shortly.

        Raises:
            Refused: Stepback decided against it.
            Unavailable: Nobody answered in time.
            BadAnswer: What answered is no gateway.
        """
        deadline = time.monotonic() + self._timeout
        for pause in _pauses():
            left = max(deadline - time.monotonic(), 0.001)
            retry_after = None
            try:
                limits = httpx.Timeout(min(left, _TRY_SECONDS), connect=min(left, _CONNECT_SECONDS))
                answer = self._http.request(
                    method, self._url + path, json=json, headers={**headers()}, timeout=limits, follow_redirects=False
                )
            except httpx.RequestError as error:
                trouble: StepbackError = self._silent(error)
            else:
                if answer.is_success:
                    return _document(answer)
                trouble = _trouble(answer)
                retry_after = _retry_after(answer)
            wait = pause if retry_after is None else retry_after
            # A limit that does not say when it ends is one of rights, not of haste.
            again = retry_after is not None if isinstance(trouble, LimitReached) else isinstance(trouble, Unavailable)
            if not again or time.monotonic() + wait >= deadline:
                raise trouble
            time.sleep(wait)
        raise AssertionError("pauses never end")  # pragma: no cover

    @contextlib.contextmanager
    def stream(self, path: str, *, headers: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        """Give the chunks of an answer as they come; one try.

        Raises:
            Refused: Stepback decided against it.
            Unavailable: Nobody answers, or the stream broke off.
            BadAnswer: What answered is no gateway.
        """
        limits = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        wanted = {"Accept": "text/event-stream", **headers}
        try:
            with self._http.stream(
                "GET", self._url + path, headers=wanted, timeout=limits, follow_redirects=False
            ) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _trouble(answer)
                yield answer.iter_bytes()
        except httpx.RequestError as error:
            raise self._silent(error) from None

    def _silent(self, error: httpx.RequestError) -> Unavailable:
        what = type(error).__name__
        return Unavailable(
            f"the gateway {self._url} did not answer ({what}); see that it is up and can be reached from here. What was"
            " sent may have arrived"
        )


def _pauses() -> Iterator[float]:
    longest = _FIRST_PAUSE
    while True:
        yield random.uniform(0, longest)  # noqa: S311 - nobody gains by guessing it
        longest = min(2 * longest, _LONGEST_PAUSE)


def _document(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise BadAnswer(f"the answer {answer.status_code} holds no JSON object; see that the URL is that of a gateway")
    return document


def _trouble(answer: httpx.Response) -> StepbackError:
    """Return the error that the gateway tells; of what others answer, a proxy's page for instance, only the status."""
    status = answer.status_code
    code, detail = _problem(answer)
    if status in _AWAY:
        return Unavailable(detail or f"the gateway, or a proxy before it, answers {status}; try again later", code=code)
    if code is None or detail is None or status < 400:
        return BadAnswer(f"the answer {status} is not one of Stepback; see that the URL is that of a gateway")
    if status == 429:
        return LimitReached(detail, code=code, retry_after=_retry_after(answer))
    if status < 500:
        return _REFUSED.get(status, Refused)(detail, code=code)
    return StepbackError(detail, code=code)


def _problem(answer: httpx.Response) -> tuple[str | None, str | None]:
    """Return code and message of a problem document (RFC 9457), None where there is none."""
    if answer.headers.get("Content-Type", "").partition(";")[0].strip() != "application/problem+json":
        return None, None
    try:
        document = answer.json()
        code, detail = document["code"], document["detail"]
    except (ValueError, KeyError, TypeError):
        return None, None
    if not isinstance(code, str) or not isinstance(detail, str):
        return None, None
    return code[:_LONGEST_CODE], detail[:_LONGEST_MESSAGE]


def _retry_after(answer: httpx.Response) -> float | None:
    """Return the seconds after which to ask again; a date is not understood, since Stepback sends none."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else None
