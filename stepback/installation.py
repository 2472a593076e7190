"""The composition of everything but the worker: settings with every URL filled in, ledger, key, sessions in targets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic import SecretStr
from sqlalchemy import Engine

from ledger.database import open_ledger
from ledger.errors import BadConfiguration
from ledger.installation import installation_id
from ledger.settings import Settings, TargetSettings, TrustSettings
from producers.keys import PrivateKey, local_operator, read_key, register_local_operator
from stepback.embedded import Postgres, Redis
from stepback.embedded.roles import LEDGER_DATABASE, SAMPLE_DATABASE
from stepback.sample import TARGET
from worker.install import check_installed
from worker.target import Session, connect

_ServerT = TypeVar("_ServerT", Postgres, Redis)


class NoServer(BadConfiguration):
    """Neither is a URL configured, nor does an embedded server run in the data folder."""

    code = "no_server"


class Installation:
    """What a command of the command line works with; everything is opened when it is first asked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Return the installation that the settings mean, with the running embedded servers for URLs that are absent.

        Raises:
            NoServer: A URL is absent, and so is the server.
        """
        return cls(resolved(settings))

    @cached_property
    def engine(self) -> Engine:
        """The ledger.

        Raises:
            BadConfiguration: Its schema is not installed.
            LedgerUnreachable: It does not answer.
        """
        engine = open_ledger(secret(self.settings.ledger.url))
        try:
            installation_id(engine)
        except BaseException:
            engine.dispose()
            raise
        return engine

    @cached_property
    def key(self) -> PrivateKey:
        """The key that commands are signed with here; the local operator's is made known to the ledger."""
        return self.key_of(os.environ)

    def key_of(self, environ: Mapping[str, str]) -> PrivateKey:
        """Return the key that signs here: that of STEPBACK_KEY and STEPBACK_ISSUER, else the local operator's."""
        if path := environ.get("STEPBACK_KEY"):
            issuer = environ.get("STEPBACK_ISSUER")
            if not issuer:
                raise BadConfiguration("STEPBACK_KEY names a key; STEPBACK_ISSUER has to say whose it is")
            return read_key(Path(path), issuer)
        key = local_operator(self.settings.data)
        register_local_operator(self.engine, key)
        return key

    @contextmanager
    def session(self, name: str, *, installed: bool = True) -> Iterator[Session]:
        """Give a session in a target.

        Args:
            name: The target's configured name.
            installed: Whether Stepback's side has to be there.

        Raises:
            BadName, UnknownTarget: It is not configured.
            TargetUnreachable: It does not answer.
            NotPossible: It cannot be worked with; the message says why.
        """
        target = self.settings.target(name)
        session = connect(target.dsn(), "stepback command line")
        try:
            session.limit(lock_timeout_ms=target.lock_timeout_ms, statement_timeout_ms=target.statement_timeout_ms)
            if installed:
                check_installed(session)
            yield session
        finally:
            session.close()

    def close(self) -> None:
        """Hang up."""
        if "engine" in self.__dict__:
            self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def resolved(settings: Settings) -> Settings:
    """Return the settings with the URLs of the embedded servers that run in the data folder.

    Raises:
        NoServer: One that is needed does not run.
    """
    postgres = _running(Postgres, settings.data) if settings.ledger.url is None else None
    redis = _running(Redis, settings.data) if settings.redis.url is None else None
    return with_servers(settings, postgres=postgres, redis=redis)


def with_servers(settings: Settings, *, postgres: Postgres | None, redis: Redis | None) -> Settings:
    """Return the settings with the URLs of embedded servers; without targets, the sample becomes one.

    Args:
        settings: As configured.
        postgres: Stands in for the ledger; None where its URL is configured.
        redis: Stands in for the queue; None where its URL is configured.
    """
    changed: dict[str, object] = {}
    if settings.trust.local_operator == "embedded":
        changed["trust"] = TrustSettings(local_operator="none" if postgres is None else "all")
    if redis is not None:
        changed["redis"] = settings.redis.model_copy(update={"url": SecretStr(redis.url)})
    if postgres is not None:
        urls = {
            "url": SecretStr(postgres.url(LEDGER_DATABASE, "stepback_app")),
            "admin_url": SecretStr(postgres.superuser_url(LEDGER_DATABASE)),
        }
        changed["ledger"] = settings.ledger.model_copy(update=urls)
        if not settings.targets:
            url = SecretStr(postgres.url(SAMPLE_DATABASE, "stepback_worker"))
            changed["targets"] = {TARGET: TargetSettings(url=url, plans=sample_plans())}
    return settings.model_copy(update=changed)


def has_sample(settings: Settings) -> bool:
    """Return whether settings, as configured, leave it to Stepback to bring a target."""
    return settings.ledger.url is None and not settings.targets


def sample_plans() -> Path:
    """Return the folder of the plans that come with the sample."""
    return Path(str(resources.files("sql") / "plans" / TARGET))


def secret(url: SecretStr | None) -> str:
    """Return a URL that `resolved` has filled in."""
    assert url is not None  # noqa: S101 - the caller's settings are resolved
    return url.get_secret_value()


def _running(kind: type[_ServerT], data: Path) -> _ServerT:
    """Return a handle on a running server; making one would make its folder, so look first."""
    server = kind(data) if (data / kind.name).is_dir() else None
    if server is None or not server.answers():
        raise NoServer(
            f"no server is running in {data.absolute()}: start `stepback up` there,"
            " or set STEPBACK_LEDGER_URL and STEPBACK_REDIS_URL"
        )
    return server
