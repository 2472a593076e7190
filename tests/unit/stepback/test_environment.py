"""Settings survive the way through the environment into another process."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from ledger.settings import LedgerSettings, RedisSettings, Settings, TargetSettings, load
from stepback.environment import as_environment


def test_round_trip(tmp_path: Path) -> None:
    """Another process that loads the variables has the same servers, targets and data folder."""
    settings = Settings(
        data=tmp_path,
        ledger=LedgerSettings(url=SecretStr("postgresql://ledger")),
        redis=RedisSettings(url=SecretStr("redis://queue")),
        targets={
            "goodbuy_hq": TargetSettings(url=SecretStr("postgresql://target"), plans=tmp_path / "plans"),
            "by_file": TargetSettings(url_file=tmp_path / "url"),
        },
    )
    empty = tmp_path / "stepback.toml"
    empty.touch()

    assert load({**as_environment(settings), "STEPBACK_CONFIG": str(empty)}) == settings


def test_names_that_no_variable_can_carry(tmp_path: Path) -> None:
    """Targets whose names would come back as others are left to the configuration file."""
    names = ("with-dash", "With_Capital", "two__lines", "dot.ted", "end_")
    settings = Settings(
        data=tmp_path,
        ledger=LedgerSettings(url=SecretStr("postgresql://ledger")),
        redis=RedisSettings(url=SecretStr("redis://queue")),
        targets={name: TargetSettings(url=SecretStr("postgresql://target")) for name in names},
    )

    assert not any("TARGETS" in variable for variable in as_environment(settings))
