"""The command line: thin. It parses, calls, prints; exit codes are 0 fine, 1 findings or failure, 2 wrong usage, 3 server
not reachable.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import click

COMMANDS = {
    "bootstrap": ("offline", "Print Envoy's bootstrap, for `envoy -c`."),
    "certs": ("certs", "Make an authority, and certificates for the server and for proxies."),
    "render": ("offline", "Print the Envoy resources that a proxy gets."),
    "run": ("run", "Run the YAML in a directory on this machine: a server, Envoys, stand-ins."),
    "schema": ("check", "Print the JSON Schema of a kind, for editors."),
    "serve": ("serve", "Serve the YAML in directories to Envoys, and every change of it."),
    "status": ("remote", "Show who has what of a running server."),
    "validate": ("check", "Check files without a server: every problem, with file, line and column."),
    "wait": ("remote", "Wait until every connected proxy has a revision."),
}
"""The module of each command, and what it does in a line. A module is imported when its command is called: one half of a
second, which nobody waits for who asks something else."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found = getattr(import_module(f"legation.cli.{COMMANDS[cmd_name][0]}"), cmd_name)
        assert isinstance(found, click.Command)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, does) for name, (_, does) in sorted(COMMANDS.items())])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - a shell asks, hardly anybody else

        commands = [
            CompletionItem(name, help=does) for name, (_, does) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="legation", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Istio's routing without Kubernetes: Istio-style YAML files in, Envoy xDS out."""
    if os.environ.get("NO_COLOR"):
        context.color = False
