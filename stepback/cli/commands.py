"""The root of the command line: every command by name, loaded when it is called, so that `--help` is quick."""

from __future__ import annotations

from importlib import import_module

import click

#: Name, module and attribute, what it does; in the order in which somebody meets them.
COMMANDS = {
    "demo": ("stepback.cli.serve", "demo", "The whole story on embedded servers, in about a minute."),
    "up": ("stepback.cli.serve", "up", "Run worker, monitor and doors, and servers where no URL is set."),
    "init": ("stepback.cli.init", "init", "Bring the ledger's and every target's schema up to date."),
    "register": ("stepback.cli.register", "register", "Validate plans and put them in the registry."),
    "plan": ("stepback.cli.plan", "plan", "Show what a rollback would do; changes nothing."),
    "rollback": ("stepback.cli.ask", "rollback", "Roll a migration back; what it removes is preserved."),
    "recover": ("stepback.cli.ask", "recover", "Undo a completed rollback: schema and data come back."),
    "validate": ("stepback.cli.ask", "validate", "Look whether a target is sound; changes nothing."),
    "purge": ("stepback.cli.purge", "purge", "Delete for good what runs keep; asks first."),
    "approve": ("stepback.cli.consent", "approve", "Let a run go on that waits for an approval."),
    "cancel": ("stepback.cli.consent", "cancel", "Stop a run before it changes anything."),
    "runs": ("stepback.cli.runs", "runs", "List runs, the newest first."),
    "show": ("stepback.cli.runs", "show", "Show a run: its steps, what it preserved, why it ended so."),
    "ack": ("stepback.cli.ack", "ack", "Take note of a run, so that nobody is paged for it any more."),
    "keys": ("stepback.cli.keys", "keys", "Keep the keys whose signatures are accepted."),
    "targets": ("stepback.cli.targets", "targets", "List targets, and what is kept in them."),
    "env": ("stepback.cli.env", "env", "Print the URLs in use as shell exports."),
    "audit": ("stepback.cli.audit", "audit", "Read, verify and export the audit log."),
    "worker": ("stepback.cli.serve", "worker", "Run one worker process."),
    "monitor": ("stepback.cli.serve", "monitor", "Watch over everything, and tell who must know."),
    "gateway": ("stepback.cli.gateway", "gateway", "Take signed commands by HTTP."),
    "outbox": ("stepback.cli.outbox", "outbox", "Relay what applications ask for in their own databases."),
    "stream": ("stepback.cli.stream", "stream", "Take commands from a Redis stream."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stepback-pg", prog_name="stepback")
def stepback() -> None:
    """Undo PostgreSQL schema changes: nothing is lost, everything is written down.

    Begin with `stepback demo`, or with `stepback up` in one terminal and `stepback plan` in another.
    """
