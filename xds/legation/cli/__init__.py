"""The command line: thin. It parses, calls, prints; exit codes are 0 fine, 1 findings or failure, 2 wrong usage, 3 server
not reachable.
"""

from __future__ import annotations

import os

import click

from legation.cli import offline, run, serve


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="legation", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Istio's routing without Kubernetes: Istio-style YAML files in, Envoy xDS out."""
    if os.environ.get("NO_COLOR"):
        context.color = False


for command in (run.run, serve.serve, offline.validate, offline.render, offline.bootstrap, offline.schema):
    main.add_command(command)
