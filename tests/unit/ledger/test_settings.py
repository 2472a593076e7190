"""Settings from the environment: checked key by key, and never repeating a value."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from ledger.errors import BadConfiguration, UnknownTarget
from ledger.settings import load


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that has no stepback.toml."""
    monkeypatch.chdir(tmp_path)


def test_nothing_configured_means_embedded() -> None:
    """Everything is optional."""
    settings = load({})

    assert settings.embedded
    assert settings.data == Path(".stepback")
    assert settings.targets == {}


def test_the_environment_sets_single_keys() -> None:
    """Of a section and of a target."""
    settings = load(
        {
            "STEPBACK_LEDGER_URL": "postgresql://l",
            "STEPBACK_LEDGER_ADMIN_URL": "postgresql://a",
            "STEPBACK_REDIS_URL": "redis://r",
            "STEPBACK_WORKER_LEASE_SECONDS": "30",
            "STEPBACK_TARGETS__SHOP__URL": "postgresql://t",
            "STEPBACK_DATA": "/srv/stepback",
        }
    )

    assert not settings.embedded
    assert settings.worker.lease_seconds == 30
    assert settings.target("shop").dsn() == "postgresql://t"
    assert settings.data == Path("/srv/stepback")


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        ({"STEPBACK_LEDGER_URI": "hunter2"}, "ledger.uri: unknown key"),
        ({"STEPBACK_WORKER_THREADS": "hunter2"}, "worker.threads"),
        ({"STEPBACK_WORKER_THREADS": "0"}, "worker.threads"),
        ({"STEPBACK_TARGETS__SHOP__LOCK_TIMEOUT_MS": "0", "STEPBACK_TARGETS__SHOP__URL": "x"}, "lock_timeout_ms"),
        ({"STEPBACK_TARGETS__SHOP__URL": "hunter2", "STEPBACK_TARGETS__SHOP__URL_FILE": "x"}, "url and url_file"),
        ({"STEPBACK_TARGETS__SHOP__CONTACT": "hunter2"}, "url and url_file"),
        ({"STEPBACK_TARGETS__A/B__URL": "hunter2"}, "looks like a path"),
        ({"STEPBACK_CONFIG": "/nowhere/hunter.toml"}, "cannot be read"),
    ],
)
def test_a_bad_key_is_named_without_its_value(environ: dict[str, str], key: str) -> None:
    """The value may be a secret."""
    with pytest.raises(BadConfiguration) as refusal:
        load(environ)

    assert key in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_an_unknown_target_is_refused_with_those_that_are_known() -> None:
    """So that a slip is seen at once."""
    settings = load({"STEPBACK_TARGETS__SHOP__URL": "postgresql://t"})

    with pytest.raises(UnknownTarget, match="known: shop"):
        settings.target("shopp")


def test_secrets_do_not_show() -> None:
    """Printing the settings tells no URL."""
    settings = load({"STEPBACK_LEDGER_URL": "postgresql://u:hunter2@h/db"})

    assert "hunter2" not in repr(settings)


def test_retention_is_a_duration() -> None:
    """Of a target; without it nothing expires."""
    target = {"STEPBACK_TARGETS__SHOP__URL": "postgresql://t"}

    assert load(target).target("shop").retention is None
    assert load({**target, "STEPBACK_TARGETS__SHOP__RETENTION": "8w"}).target("shop").retention == timedelta(weeks=8)


@pytest.mark.parametrize("retention", ["30", "0d", "-1d", "1.5d", "30 d", "1m", "", "\u0663d", "100000d"])
def test_bad_retention_says_what_is_allowed(retention: str) -> None:
    """Whole hours, days or weeks, at least one."""
    target = {"STEPBACK_TARGETS__SHOP__URL": "postgresql://t", "STEPBACK_TARGETS__SHOP__RETENTION": retention}

    with pytest.raises(BadConfiguration, match=r"targets\.shop\.retention: .*such as 12h, 30d or 8w"):
        load(target)


def test_retention_without_a_unit_is_refused_in_the_file_too(tmp_path: Path) -> None:
    """A number could be days or seconds."""
    (tmp_path / "stepback.toml").write_text('[targets.shop]\nurl = "x"\nretention = 30\n', encoding="utf-8")

    with pytest.raises(BadConfiguration, match=r"targets\.shop\.retention: .*such as 12h, 30d or 8w"):
        load({})


# -- the file ------------------------------------------------------------------


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """Key by key: what the environment does not name stays as the file has it."""
    (tmp_path / "stepback.toml").write_text(
        '[worker]\nthreads = 3\nmax_attempts = 7\n[targets.shop]\nurl = "postgresql://file"\nlock_timeout_ms = 500\n',
        encoding="utf-8",
    )

    settings = load({"STEPBACK_WORKER_THREADS": "4", "STEPBACK_TARGETS__SHOP__URL": "postgresql://environment"})

    assert (settings.worker.threads, settings.worker.max_attempts) == (4, 7)
    assert settings.target("shop").dsn() == "postgresql://environment"
    assert settings.target("shop").lock_timeout_ms == 500


def test_stepback_config_names_another_file(tmp_path: Path) -> None:
    """The file of the working directory is not read then."""
    (tmp_path / "stepback.toml").write_text("[worker]\nthreads = 3\n", encoding="utf-8")
    other = tmp_path / "other.toml"
    other.write_text("[worker]\nmax_attempts = 7\n", encoding="utf-8")

    settings = load({"STEPBACK_CONFIG": str(other)})

    assert (settings.worker.threads, settings.worker.max_attempts) == (2, 7)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"[worker\nthreads = 3", "not valid TOML", id="not TOML"),
        pytest.param(b'[worker]\nmetrics_host = "\xff"', "not valid TOML", id="not UTF-8"),
        pytest.param(b'[ledgers]\nurl = "hunter2"', "ledgers: unknown key", id="unknown section"),
        pytest.param(b'[ledger]\nurl = ["hunter2"]', "ledger.url", id="wrong type"),
        pytest.param(b'ledger = "hunter2"', "ledger", id="not a section"),
        pytest.param(b'data = "hunter2"', "STEPBACK_DATA", id="data"),
        pytest.param(b'[targets."a b"]\nurl = "hunter2"', "target", id="bad target name"),
    ],
)
def test_a_bad_file_is_named_without_its_values(tmp_path: Path, content: bytes, problem: str) -> None:
    """The message says which file and which key; a value may be a secret."""
    (tmp_path / "stepback.toml").write_bytes(content)

    with pytest.raises(BadConfiguration) as refusal:
        load({})

    assert "stepback.toml" in str(refusal.value)
    assert problem in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_a_url_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    """A mounted secret is read when it is used, without the newline that editors add."""
    secret = tmp_path / "secret"
    settings = load({"STEPBACK_TARGETS__SHOP__URL_FILE": str(secret)})
    secret.write_text("postgresql://t\n", encoding="utf-8")

    assert settings.target("shop").dsn() == "postgresql://t"


def test_a_url_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A secret that was not mounted is a matter of configuration."""
    settings = load({"STEPBACK_TARGETS__SHOP__URL_FILE": str(tmp_path / "secret")})

    with pytest.raises(BadConfiguration, match="secret cannot be read"):
        settings.target("shop").dsn()


# -- URLs of ledger and Redis in files -------------------------------------------


def test_the_urls_of_ledger_and_redis_may_stand_in_files(tmp_path: Path) -> None:
    """Mounted secrets, which `docker inspect` does not show; then nothing is embedded."""
    for name in ("ledger", "admin", "redis"):
        (tmp_path / name).write_text(f"scheme://{name}\n", encoding="utf-8")

    settings = load(
        {
            "STEPBACK_LEDGER_URL_FILE": "ledger",
            "STEPBACK_LEDGER_ADMIN_URL_FILE": "admin",
            "STEPBACK_REDIS_URL_FILE": str(tmp_path / "redis"),
        }
    )

    urls = (settings.ledger.url, settings.ledger.admin_url, settings.redis.url)
    assert [url and url.get_secret_value() for url in urls] == ["scheme://ledger", "scheme://admin", "scheme://redis"]
    assert not settings.embedded


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(None, "url_file secret cannot be read: No such file", id="not there"),
        pytest.param(b" \n", "url_file secret is empty", id="empty"),
        pytest.param(b"hunter2\xff", "url_file secret cannot be read: it is not UTF-8", id="not text"),
    ],
)
@pytest.mark.parametrize("section", ["LEDGER", "REDIS"])
def test_a_url_file_of_ledger_or_redis_that_holds_none_is_named(
    tmp_path: Path, section: str, content: bytes | None, problem: str
) -> None:
    """The process does not begin, and says nothing of what is in the file."""
    if content is not None:
        (tmp_path / "secret").write_bytes(content)

    with pytest.raises(BadConfiguration, match=problem) as refusal:
        load({f"STEPBACK_{section}_URL_FILE": "secret"})
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize("key", ["LEDGER_URL", "LEDGER_ADMIN_URL", "REDIS_URL"])
def test_a_url_and_a_file_of_one_are_a_slip(tmp_path: Path, key: str) -> None:
    """Which of them is meant nobody knows."""
    (tmp_path / "secret").write_text("hunter2", encoding="utf-8")

    with pytest.raises(BadConfiguration, match=r"give one of (admin_)?url and (admin_)?url_file, not both") as refusal:
        load({f"STEPBACK_{key}": "hunter2", f"STEPBACK_{key}_FILE": "secret"})
    assert "hunter2" not in str(refusal.value)


def test_a_url_of_the_environment_wins_over_a_file_of_one(tmp_path: Path) -> None:
    """And a file over a URL: what `stepback env` prints works beside any configuration file."""
    (tmp_path / "stepback.toml").write_text(
        '[ledger]\nurl_file = "gone"\n[redis]\nurl = "redis://file"\n[targets.shop]\nurl_file = "gone"\n',
        encoding="utf-8",
    )
    (tmp_path / "secret").write_text("redis://secret", encoding="utf-8")

    settings = load(
        {
            "STEPBACK_LEDGER_URL": "postgresql://l",
            "STEPBACK_REDIS_URL_FILE": "secret",
            "STEPBACK_TARGETS__SHOP__URL": "postgresql://t",
        }
    )

    assert settings.ledger.url is not None
    assert settings.ledger.url.get_secret_value() == "postgresql://l"
    assert settings.redis.url is not None
    assert settings.redis.url.get_secret_value() == "redis://secret"
    assert settings.target("shop").dsn() == "postgresql://t"


def test_settings_do_not_change_after_loading() -> None:
    """Every thread of a process may read them."""
    settings = load({})

    with pytest.raises(ValidationError, match="frozen"):
        settings.data = Path("elsewhere")  # type: ignore[misc]
