"""The embedded servers: a real PostgreSQL and a real Redis under one data folder, for whoever brings none."""

from stepback.embedded.postgres import Postgres
from stepback.embedded.redis_server import Redis
from stepback.embedded.roles import ensure_roles_and_databases
from stepback.embedded.server import EmbeddedServerFailed
from stepback.embedded.together import Servers, servers

__all__ = ["EmbeddedServerFailed", "Postgres", "Redis", "Servers", "ensure_roles_and_databases", "servers"]
