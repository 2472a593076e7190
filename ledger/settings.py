"""Settings: stepback.toml and the environment, checked key by key."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from ledger import durations
from ledger.errors import BadConfiguration, BadName, UnknownTarget
from ledger.names import check_name


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _read_url(key: str, path: Path) -> str:
    """Return what a file such as a mounted secret holds: never part of a message."""
    try:
        url = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadConfiguration(f"{key} {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise BadConfiguration(f"{key} {path} cannot be read: it is not UTF-8; write the URL into it") from None
    if not url:
        raise BadConfiguration(f"{key} {path} is empty; write the URL into it")
    return url


class _Server(_Section):
    """A server by its URL, or by a file that holds it and is read when the process begins; absent: embedded."""

    url: SecretStr | None = None
    #: A file that holds the URL, such as a mounted secret.
    url_file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _take_from_files(cls, given: object) -> object:
        """Fill in what files hold, so that everybody else finds URLs in one place."""
        if not isinstance(given, dict):
            return given
        filled = dict(given)
        for file_key in filter(cls.model_fields.__contains__, [key for key in given if str(key).endswith("_file")]):
            key = file_key.removesuffix("_file")
            if key in given:
                raise ValueError(f"give one of {key} and {file_key}, not both")
            if isinstance(given[file_key], str | Path):
                filled[key] = _read_url(file_key, Path(given[file_key]))
        return filled


class LedgerSettings(_Server):
    """Where the control database is; `url` is what every process connects with."""

    #: What `stepback init` connects with to install the schema and its roles; absent: `url`.
    admin_url: SecretStr | None = None
    admin_url_file: Path | None = None


class RedisSettings(_Server):
    """Where the doorbell hangs."""

    #: Prefix of every key, so that several installations may share one Redis.
    namespace: str = "stepback"


class WorkerSettings(_Section):
    """How a worker process behaves."""

    #: Commands carried out at once by one process.
    threads: Annotated[int, Field(ge=1, le=64)] = 2
    #: How long a claimed run stays ours without a sign of life.
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 15
    #: How often unfinished commands are looked for and rung again.
    reconcile_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 2
    #: How often targets are looked through for what runs that are over have left behind.
    sweep_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 60
    #: How long a target may be unreachable before a person has to look.
    unreachable_seconds: Annotated[float, Field(ge=0, le=86400)] = 60
    #: Attempts before a person has to look.
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 5
    #: Loopback unless said otherwise.
    metrics_host: str = "127.0.0.1"
    #: 0 takes any free port; the worker logs which.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9464


def _urls(value: object) -> object:
    """Take a list of URLs from the environment as well, where they are parted by commas."""
    return [url.strip() for url in value.split(",") if url.strip()] if isinstance(value, str) else value


def _duration(value: object) -> timedelta:
    if not isinstance(value, str):
        raise ValueError(durations.ALLOWED)  # noqa: TRY004 - what pydantic makes a message of
    return durations.parse(value)


class _Database(_Section):
    """A database by its URL, or by a file that holds it."""

    url: SecretStr | None = None
    #: A file that holds the URL, such as a mounted secret.
    url_file: Path | None = None

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("give exactly one of url and url_file")
        return self

    def dsn(self) -> str:
        """Return the connection URL. It may hold a password: never log it."""
        if self.url is not None:
            return self.url.get_secret_value()
        assert self.url_file is not None  # noqa: S101 - _one_url holds this
        return _read_url("url_file", self.url_file)


class TargetSettings(_Database):
    """One database that can be rolled back."""

    #: Folder of plans, one folder per migration; absent: registry rows only.
    plans: Path | None = None
    #: Folder of checks of one's own, beside those that come along.
    checks: Path | None = None
    #: Per lock; never 0.
    lock_timeout_ms: Annotated[int, Field(ge=1, le=60_000)] = 2000
    #: Over all attempts at the locks.
    lock_budget_seconds: Annotated[float, Field(gt=0, le=3600)] = 60
    #: Ceiling for any single statement of a run.
    statement_timeout_ms: Annotated[int, Field(ge=100, le=3_600_000)] = 300_000
    #: After how long what is kept may be deleted by a purge that says no time; nothing is ever deleted by itself.
    retention: Annotated[timedelta, BeforeValidator(_duration)] | None = None
    #: Shown in every page.
    contact: str = ""


class OutboxSettings(_Database):
    """One application database whose outbox is relayed."""

    #: How often it is looked at where no notification came.
    poll_seconds: Annotated[float, Field(ge=0.1, le=3600)] = 2


class StreamSettings(_Section):
    """The Redis stream that commands come in by."""

    #: Whether `stepback up` reads it; `stepback stream` does so regardless.
    enabled: bool = False
    name: Annotated[str, Field(min_length=1)] = "stepback.commands"
    #: Consumers of one group share the entries.
    group: Annotated[str, Field(min_length=1)] = "stepback"
    #: Where entries go that hold no command, or one that is refused.
    dead_letters: Annotated[str, Field(min_length=1)] = "stepback.commands.dead"
    #: Where it is told what became of an entry.
    answers: Annotated[str, Field(min_length=1)] = "stepback.commands.answers"
    #: How long a consumer may keep an entry to itself before another takes it over.
    claim_seconds: Annotated[float, Field(ge=0.1, le=86400)] = 60
    #: How many dead letters, and how many answers, are kept at most, about.
    max_length: Annotated[int, Field(ge=1)] = 10_000


class GatewaySettings(_Section):
    """The HTTP gateway."""

    #: Loopback unless said otherwise; there is no TLS: a proxy in front of it has that.
    host: str = "127.0.0.1"
    #: 0 takes any free port; the gateway logs which.
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    #: Requests per second of one issuer, and of one address without a believed signature; more is answered with 429.
    max_per_second: Annotated[float, Field(gt=0)] = 50
    #: Connections at once.
    max_connections: Annotated[int, Field(ge=1)] = 100
    #: Loopback unless said otherwise.
    metrics_host: str = "127.0.0.1"
    #: 0 takes any free port; the gateway logs which.
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9466


#: Kinds that a producer may be given the right to; the canary is the monitor's own.
Grantable = Literal["rollback", "recover", "validate", "purge"]


class ProducerSettings(_Section):
    """What one issuer of commands may ask for. What is not named is not allowed."""

    kinds: frozenset[Grantable] = frozenset()
    #: Configured names, or patterns of them with `*`, `?` and `[…]`.
    targets: tuple[str, ...] = ()
    #: How many rollbacks and purges of one target it may ask for within an hour.
    destructive_per_hour: Annotated[int, Field(ge=0)] = 10
    #: Whether its commands wait for an approval; purges do anyway.
    approval: bool = False
    #: Targets whose runs it may approve and cancel, though others have asked for them.
    approves: tuple[str, ...] = ()


class TrustSettings(_Section):
    """Whom the installation trusts beside the producers that are named."""

    #: Whether whoever runs the command line here has every right: "embedded": only where the ledger is embedded.
    local_operator: Literal["embedded", "all", "none"] = "embedded"


class MonitorSettings(_Section):
    """What a monitor looks at, how often, and whom it tells."""

    #: Alertmanager's addresses; every one of them is told. Absent: nobody is, and only metrics are served.
    alertmanager_urls: Annotated[tuple[AnyHttpUrl, ...], BeforeValidator(_urls)] = ()
    #: Label of every alert: installations of several environments may share an Alertmanager.
    environment: Annotated[str, Field(min_length=1)] = "production"
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 9465
    #: How often the ledger is looked through, and standing alerts are told again.
    scan_seconds: Annotated[float, Field(ge=0.1, le=600)] = 2
    post_seconds: Annotated[float, Field(ge=0.1, le=600)] = 10
    #: How long a run may get nowhere in each phase.
    stuck_preflight_seconds: Annotated[float, Field(gt=0)] = 120
    stuck_preserve_seconds: Annotated[float, Field(gt=0)] = 600
    stuck_apply_seconds: Annotated[float, Field(gt=0)] = 120
    stuck_finish_seconds: Annotated[float, Field(gt=0)] = 1800
    #: How long a run may wait to be taken over once its lease has lapsed.
    lease_grace_seconds: Annotated[float, Field(gt=0)] = 15
    approval_seconds: Annotated[float, Field(gt=0)] = 1800
    #: How long the ledger may be out of reach before somebody is told.
    ledger_seconds: Annotated[float, Field(gt=0)] = 30
    #: How often a canary is sent through the house; 0: never.
    canary_seconds: Annotated[float, Field(ge=0, le=3600)] = 60
    #: How often targets are looked at, and the whole audit chain is walked.
    targets_seconds: Annotated[float, Field(ge=0.1, le=86400)] = 60
    verify_seconds: Annotated[float, Field(ge=0.1, le=604800)] = 3600
    #: How long before what is kept passes its retention somebody is told.
    expiry_notice: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(days=7)
    #: Where pages point to.
    runbook_url: str = "dashboards/runbook.md"
    dashboard_url: str = ""


class Settings(_Section):
    """Everything that can be configured; all of it is optional."""

    ledger: LedgerSettings = LedgerSettings()
    redis: RedisSettings = RedisSettings()
    worker: WorkerSettings = WorkerSettings()
    monitor: MonitorSettings = MonitorSettings()
    gateway: GatewaySettings = GatewaySettings()
    stream: StreamSettings = StreamSettings()
    trust: TrustSettings = TrustSettings()
    targets: dict[str, TargetSettings] = {}
    #: By issuer: `[producers."service:billing"]`.
    producers: dict[str, ProducerSettings] = {}
    outboxes: dict[str, OutboxSettings] = {}
    #: Not a key of the file: STEPBACK_DATA or `.stepback`.
    data: Path = Path(".stepback")

    @property
    def embedded(self) -> bool:
        """Whether Stepback brings its own servers."""
        return self.ledger.url is None or self.redis.url is None

    def target(self, name: str) -> TargetSettings:
        """Return the settings of a target.

        Raises:
            BadName: The text cannot be a name.
            UnknownTarget: No target of that name is configured.
        """
        check_name("target", name)
        if name not in self.targets:
            known = ", ".join(sorted(self.targets)) or "none"
            raise UnknownTarget(f"no target {name!r} is configured (known: {known})")
        return self.targets[name]


_SECTIONS: dict[str, type[_Section]] = {
    "ledger": LedgerSettings,
    "redis": RedisSettings,
    "worker": WorkerSettings,
    "monitor": MonitorSettings,
    "gateway": GatewaySettings,
    "stream": StreamSettings,
    "trust": TrustSettings,
}
#: Sections of many, by name: `STEPBACK_TARGETS__NAME__KEY`.
_NAMED: dict[str, type[_Section]] = {
    "targets": TargetSettings,
    "outboxes": OutboxSettings,
    "producers": ProducerSettings,
}
_OTHER_VARIABLES = ("STEPBACK_CONFIG", "STEPBACK_DATA", "STEPBACK_KEY", "STEPBACK_ISSUER")


def load(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the configuration file and the environment; the environment wins.

    Args:
        environ: `STEPBACK_CONFIG` names the file (else `stepback.toml` in the working directory, if there);
            `STEPBACK_DATA` the data folder; any other `STEPBACK_SECTION_KEY` or, for a target,
            `STEPBACK_TARGETS__NAME__KEY` sets one key.

    Raises:
        BadConfiguration: Names the file or variable, the key, and what is allowed.
    """
    named = environ.get("STEPBACK_CONFIG")
    path = Path(named) if named else Path("stepback.toml")
    tree: dict[str, Any] = {}
    if named or path.exists():
        tree = _read(path)
    source = f"{path} or the environment" if tree else "the environment"
    if "data" in tree:
        raise BadConfiguration(f"{path}: data is not a key of the file; set STEPBACK_DATA")
    _overlay(tree, environ)
    try:
        settings = Settings.model_validate({**tree, "data": Path(environ.get("STEPBACK_DATA") or ".stepback")})
        for name in settings.targets:
            check_name("target", name)
        for name in settings.outboxes:
            check_name("outbox", name)
    except ValidationError as error:
        raise BadConfiguration(_explain(source, error)) from None
    except BadName as error:
        raise BadConfiguration(f"{source}: {error}") from None
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfiguration(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{path}: not valid TOML: {error}") from error


def _overlay(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put variables over the file's keys; a variable that means nothing is more likely a slip than a wish."""
    given: list[tuple[dict[str, Any], str]] = []
    for variable, value in environ.items():
        if not variable.startswith("STEPBACK_") or variable in _OTHER_VARIABLES:
            continue
        section, _, key = variable.removeprefix("STEPBACK_").lower().partition("_")
        if section in {"targets", "outboxes"} and key.startswith("_"):
            name, _, key = key[1:].partition("__")
            named = _table(tree, section)
            given.append(_set(named, _spelling(named, name), key, value))
        elif section in _SECTIONS and key:
            given.append(_set(tree, section, key, value))
        else:
            known = ", ".join(f"STEPBACK_{name.upper()}_…" for name in _SECTIONS)
            raise BadConfiguration(
                f"{variable}: not a variable of Stepback; known are {', '.join(_OTHER_VARIABLES)}, {known},"
                " STEPBACK_TARGETS__NAME__…, STEPBACK_OUTBOXES__NAME__…"
            )
    _give_way(given)


def _set(tree: dict[str, Any], section: str, key: str, value: str) -> tuple[dict[str, Any], str]:
    table = _table(tree, section)
    table[key] = value
    return table, key


def _give_way(given: list[tuple[dict[str, Any], str]]) -> None:
    """Let a URL of the environment win over the file of one, and the other way round; two variables are a slip."""
    by_variable = {(id(table), key) for table, key in given}
    for table, key in given:
        other = key.removesuffix("_file") if key.endswith("_file") else f"{key}_file"
        if (id(table), other) not in by_variable:
            table.pop(other, None)


def _table(tree: dict[str, Any], name: str) -> dict[str, Any]:
    table = tree.setdefault(name, {})
    if not isinstance(table, dict):
        raise BadConfiguration(f"{name}: a table is wanted here, [{name}]")
    return table


def _spelling(named: dict[str, Any], name: str) -> str:
    """Return a name as the file spells it: variables are written in capitals."""
    return next((known for known in named if known.lower() == name), name)


def _explain(source: str, error: ValidationError) -> str:
    """Say which key is wrong and what is allowed, without the value, which may be a secret."""
    problems = []
    for item in error.errors(include_input=False, include_url=False):
        key = ".".join(str(part) for part in item["loc"])
        reason = item["msg"]
        if item["type"] == "extra_forbidden":
            reason = f"unknown key; known are {', '.join(_known(item['loc']))}"
        problems.append(f"{key}: {reason}")
    return f"{source}: " + "; ".join(problems)


def _known(place: tuple[int | str, ...]) -> list[str]:
    section = {**_SECTIONS, **_NAMED}[str(place[0])] if len(place) > 1 else Settings
    return sorted(name for name in section.model_fields if name != "data")
