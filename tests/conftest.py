"""What every test may use: real servers, and fresh databases on them."""

from __future__ import annotations

import signal

from hypothesis import settings

pytest_plugins = [
    "tests.fix_servers",
    "tests.fix_ledger",
    "tests.fix_targets",
    "tests.fix_engine",
    "tests.fix_outbox",
    "tests.fix_tools",
    "tests.fix_alerting",
]

# Several test processes share two cores: how long an example takes says nothing.
settings.register_profile("stepback", deadline=None)
settings.load_profile("stepback")

# Behind nohup or a `&` of the shell signals are ignored here, and every process that a test starts would ignore them.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)
