"""Commands that need the files and nothing else: validate, schema."""

from __future__ import annotations

import json
import sys
from time import time

import click

from legation import pipeline
from legation.cli import reports
from legation.cli.flags import option
from legation.cli.options import deployments, existing, mesh, mesh_config
from legation.ingest import files, kinds
from legation.ingest import schema as schemas
from legation.model.recall import Recall
from legation.problems import Severity, in_order


@click.command()
@click.argument("paths", nargs=-1, required=True)
@option("-o", "--output", type=click.Choice(list(reports.FORMATS)), default="text", help="The form of the report.")
@option("--strict", is_flag=True, help="Warnings count as errors.")
@option("--follow-outside", is_flag=True, help="Follow symbolic links that lead out of their directory.")
@click.option("--envoy", is_flag=True, help="Ask the real Envoy too, for every gateway and a sidecar per namespace.")
@mesh_config()
@deployments()
def validate(
    paths: tuple[str, ...],
    output: str,
    strict: bool,
    follow_outside: bool,
    envoy: bool,
    mesh_config: str | None,
    deployments: str,
) -> None:
    """Check files and directories (`-`: standard input) without a server: every problem, with file, line and column."""
    sources = (*existing(paths), mesh_config) if mesh_config else existing(paths)
    tree = files.read_tree(sources, follow_outside=follow_outside)
    admitted = pipeline.accept(tree, mesh(deployments), mesh_config)
    found = pipeline.problems(tree, admitted, Recall(admitted.world), now=time())
    if envoy:
        from legation.cli import second_opinion  # noqa: PLC0415 - with Envoy's messages, which take their time
        from legation.local.envoy import EnvoyMissing  # noqa: PLC0415

        try:
            found = in_order([*found, *second_opinion.problems(admitted)])
        except EnvoyMissing as error:
            raise click.ClickException(str(error)) from None
    click.echo(reports.FORMATS[output](found, admitted.count), nl=False)
    worst = min((problem.severity for problem in found), default=Severity.INFO)
    sys.exit(1 if worst is Severity.ERROR or (strict and worst is Severity.WARNING) else 0)


@click.command()
@click.argument("kind", required=False)
def schema(kind: str | None) -> None:
    """Print the JSON Schema of a kind, for editors; without a kind, list the kinds."""
    if kind is None:
        for known in sorted({known.name for known in kinds.KINDS if known.model is not None}):
            click.echo(known)
        return
    found = next((known.name for known in kinds.KINDS if known.name.lower() == kind.lower()), None)
    if found is None:
        raise click.UsageError(f"no kind {kind!r}; `legation schema` lists them")
    click.echo(json.dumps(schemas.schema(found), indent=2))
