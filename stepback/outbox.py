"""`stepback outbox`: the relays of one or more outboxes in one process, each with its own key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from ledger.database import transaction
from ledger.doorbell import open_doorbell
from ledger.errors import BadConfiguration
from ledger.installation import installation_id
from ledger.keys import register_key
from ledger.log import configure_logging, flush
from ledger.settings import Settings
from producers.keys import PrivateKey, kept_key
from producers.outbox import Relay, pass_by
from producers.outbox_watch import Watch
from producers.submit import OneWayIn
from stepback.installation import Installation, secret
from stepback.pins import Pins
from worker.stops import listen, wait

#: How long a batch under way may take to end once the process was told to stop; it is taken up again at the next start.
_STOP_SECONDS = 10.0

log = structlog.get_logger(__name__)


def relay(here: Installation, names: Sequence[str], *, at: Callable[[str], None] = pass_by) -> int:
    """Relay outboxes until SIGTERM or SIGINT; return the process's exit code.

    Args:
        here: The installation.
        names: Outboxes as they are configured; none given: all of them.
        at: Called at every crash point; tests kill the process there.

    Raises:
        BadConfiguration: There is none, or none of that name.
        StepbackError: The ledger cannot be worked with; the message says why.
    """
    configure_logging()
    stops = listen()
    chosen = chosen_outboxes(here.settings, names)
    installation = installation_id(here.engine)
    redis = here.settings.redis
    broker = open_doorbell(secret(redis.url), namespace=redis.namespace)
    stop = threading.Event()
    with Pins(here.settings) as pin:
        door = OneWayIn(engine=here.engine, broker=broker, settings=here.settings, pin=pin, via="outbox")
        threads = []
        for name in chosen:
            watch = Watch(
                Relay(name, outbox_key(here, name), installation, door, at), here.settings.outboxes[name], stop
            )
            threads.append(threading.Thread(target=watch.run, name=f"outbox {name}", daemon=True))
        for thread in threads:
            thread.start()
        log.info("outbox_started", outboxes=chosen)
        wait(stops)
        log.info("outbox_stopping", outboxes=chosen)
        stop.set()
        for thread in threads:
            thread.join(_STOP_SECONDS)
    broker.client.close()
    log.info("outbox_stopped", outboxes=chosen)
    flush()
    return 0


def chosen_outboxes(settings: Settings, names: Sequence[str]) -> list[str]:
    """Return the outboxes that are meant, each once, in order.

    Args:
        settings: Say which there are.
        names: As given; none: all.

    Raises:
        BadConfiguration: There is none, or none of that name.
    """
    known = ", ".join(sorted(settings.outboxes)) or "none"
    if not settings.outboxes:
        raise BadConfiguration("no outbox is configured: give [outboxes.NAME] a url or a url_file")
    if not settings.outboxes.keys() >= set(names):
        # What was given may be anything, a URL with a password too.
        raise BadConfiguration(f"an outbox of that name is not configured (known: {known})")
    return sorted(set(names) or settings.outboxes)


def outbox_key(here: Installation, name: str) -> PrivateKey:
    """Return the key of an outbox, which speaks for every role that asks there; the first call makes it.

    Args:
        here: The installation; the key is `keys/outbox_NAME.pem` in its data folder, and known to its ledger.
        name: The outbox.

    Raises:
        BadConfiguration: The file or its folder is open to others, or the file holds no Ed25519 key.
        NotAllowed: The key was revoked.
    """
    key = kept_key(here.settings.data / "keys" / f"outbox_{name}.pem", f"outbox:{name}")
    # Whoever may write to the ledger may so give themselves a voice; what it may ask is a matter of rights.
    with transaction(here.engine) as conn:
        register_key(conn, key.key_id, key.issuer, key.public_key)
    return key
