"""Settings as environment variables: what another process needs to work on the same servers."""

from __future__ import annotations

import re

from ledger.settings import Settings
from stepback.installation import secret

#: Names of targets that a variable can carry there and back: they are read in lower case, up to the first `__`.
_FITS = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")


def as_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that lead to the same servers, targets and key; some hold passwords.

    A target whose name no variable can carry is left out: it came from the configuration file and is still there.

    Args:
        settings: With every URL filled in.
    """
    variables = {
        "STEPBACK_DATA": str(settings.data.absolute()),
        "STEPBACK_LEDGER_URL": secret(settings.ledger.url),
        "STEPBACK_REDIS_URL": secret(settings.redis.url),
        "STEPBACK_TRUST_LOCAL_OPERATOR": settings.trust.local_operator,
    }
    for name, target in sorted(settings.targets.items()):
        if not _FITS.fullmatch(name):
            continue
        prefix = f"STEPBACK_TARGETS__{name.upper()}__"
        if target.url_file is not None:
            variables[f"{prefix}URL_FILE"] = str(target.url_file.absolute())
        else:
            variables[f"{prefix}URL"] = target.dsn()
        if target.plans is not None:
            variables[f"{prefix}PLANS"] = str(target.plans.absolute())
    return variables
