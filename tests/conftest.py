"""What every test may use: real servers, and fresh databases on them."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["tests.fix_servers", "tests.fix_ledger", "tests.fix_targets", "tests.fix_engine"]

# Several test processes share two cores: how long an example takes says nothing.
settings.register_profile("stepback", deadline=None)
settings.load_profile("stepback")
