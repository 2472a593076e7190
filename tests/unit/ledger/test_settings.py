"""Settings from the environment: checked key by key, and never repeating a value."""

from __future__ import annotations

from pathlib import Path

import pytest

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
