"""Secrets out of log lines: the last look at what our own lines, and those of libraries, are about to say.

Nothing of ours puts a secret into a line; this is for the day when something does. It knows secrets by the key that
they stand under and by their form. What is masked stays masked, so a line may pass through it any number of times.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from structlog.typing import EventDict

#: What stands in a secret's place.
REDACTED: Final = "[redacted]"

#: What stands for something that nobody can print.
UNPRINTABLE: Final = "[unprintable]"

#: Deeper than any line of ours; what lies below, or refers to itself, is masked unseen.
_DEEPEST: Final = 20

#: Words that say of a value that it is a secret; in this order, so that the longest of a family is met first.
_WORDS: Final = (
    r"(?:sslpassword|passwords?|passwd|passphrase|pwd|pgpass|secrets?|tokens?|credentials?|api_?key"
    r"|private_?key|authorization|cookie)"
)

#: The last word of a key tells: `envelope` is one, `envelope_sha256` is a hash of one.
_SECRET_KEY: Final = re.compile(rf"(?:{_WORDS}|(?:^|_)(?:dsn|conninfo|envelope))$")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

#: Up to the end of the text where the end of the key was cut off.
_PEM: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
#: JSON in base64 begins so; the signature, or more, may have been cut off.
_JWS: Final = re.compile(r"(?<![A-Za-z0-9_-])ey[JA][A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,4}")
#: The private half of a key in JSON.
_JWK: Final = re.compile(r"""(["']d["']\s*:\s*["'])[A-Za-z0-9_-]{40,}""")

_SINGLE: Final = r"'(?:\\.|''|[^'\\])*(?:'|\\?\Z)"
_DOUBLE: Final = r'"(?:\\.|[^"\\])*(?:"|\\?\Z)'
#: `password = 'a b'`, `?password=a&…`: quoted, and whatever hangs on, up to a blank that no backslash precedes.
_ASSIGNED: Final = re.compile(
    rf"({_WORDS}\s*:?={{1,3}}>?\s*)(?:{_SINGLE}|{_DOUBLE})?(?:\\.|[^\s\\])*\\?", re.IGNORECASE | re.DOTALL
)
#: As a JSON document or Python prints it: `"password": "…"`.
_PRINTED: Final = re.compile(rf"""({_WORDS}["']\s*:\s*)(?:{_SINGLE}|{_DOUBLE})""", re.IGNORECASE | re.DOTALL)
#: As SQL has it: PASSWORD '…'.
_SQL: Final = re.compile(rf"(\bPASSWORD\s+)E?{_SINGLE}", re.IGNORECASE | re.DOTALL)
#: As HTTP has it; a blank stands within.
_HEADER: Final = re.compile(r"((?:\bauthorization|\bcookie)\s*:\s*)[^\s\"'][^\r\n\"']*", re.IGNORECASE)
_BEARER: Final = re.compile(r"(\bBearer\s+)(?=\S*[0-9])[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)

#: In a web address a user alone may be a token; an @ in its path is none of ours.
_WEB: Final = re.compile(r"(\bhttps?://)[^\s/?#]*@", re.IGNORECASE)
#: No pattern above can meet a text of these alone: each wants a blank, a quote, an equals sign, one of the words below
#: or the beginning of a web address. Hashes, names and times make up most of a log, and the patterns cost most of it.
_HARMLESS: Final = re.compile(r"[!#-&(-<>-~]*")
_HARMFUL_WORDS: Final = ("authorization", "cookie", "://", "eyj", "eya")
_WITHOUT_BLANKS: Final = re.compile(r"\S+")
_SCHEME: Final = re.compile(r"(?<!http)(?<!https)://", re.IGNORECASE)


def redact_entry(_logger: object, _method: str, entry: EventDict) -> EventDict:
    """Mask the secrets of a log line; a processor of structlog, for the place before the renderer."""
    return {str(key): _redact(key, value, 0) for key, value in entry.items()}


def redacted(text: str) -> str:
    """Return a text without passwords, tokens, private keys and signed commands; any other text as it is."""
    return text if _is_harmless(text) else _masked(text)


def _is_harmless(text: str) -> bool:
    if _HARMLESS.fullmatch(text) is None:
        return False
    lower = text.lower()
    return not any(word in lower for word in _HARMFUL_WORDS)


def _masked(text: str) -> str:
    text = _PEM.sub(REDACTED, text)
    text = _PRINTED.sub(rf'\1"{REDACTED}"', text)
    text = _SQL.sub(rf"\1'{REDACTED}'", text)
    text = _ASSIGNED.sub(rf"\1{REDACTED}", text)
    text = _HEADER.sub(rf"\1{REDACTED}", text)
    text = _JWK.sub(rf"\1{REDACTED}", text)
    text = _JWS.sub(REDACTED, text)
    text = _BEARER.sub(rf"\1{REDACTED}", text)
    if "://" in text and "@" in text:
        text = _WITHOUT_BLANKS.sub(_without_password, _WEB.sub(rf"\1{REDACTED}@", text))
    return text


def _without_password(found: re.Match[str]) -> str:
    """Mask what stands between the user and the last @: whoever forgot to encode a password forgot any character."""
    word = found.group()
    scheme = _SCHEME.search(word)
    end = word.rfind("@")
    if scheme is None or end < scheme.end():
        return word
    user, colon, _ = word[scheme.end() : end].partition(":")
    return f"{word[: scheme.end()]}{user}:{REDACTED}{word[end:]}" if colon else word


def _redact(key: object, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(key, str) and is_secret(key):
        return REDACTED
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return redacted(value)
    return REDACTED if depth == _DEEPEST else _redact_within(value, depth + 1)


def _redact_within(value: object, depth: int) -> object:
    if isinstance(value, Mapping):
        return {_name(name): _redact(name, member, depth) for name, member in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact(None, item, depth) for item in value]
    return redacted(_printed(value))


@lru_cache(maxsize=1024)
def is_secret(key: str) -> bool:
    """Return whether a key says that what stands under it is a secret."""
    return _SECRET_KEY.search(_CAMEL.sub("_", key).lower().replace("-", "_").replace(".", "_")) is not None


def _name(key: object) -> str:
    return redacted(key if isinstance(key, str) else _printed(key))


def _printed(value: object) -> str:
    """Return what the renderer would print; a line is not lost for something in it that cannot be printed."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - anybody's object, anybody's exception
        return UNPRINTABLE
