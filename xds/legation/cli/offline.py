"""Commands that make what Envoy reads: render, bootstrap."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from legation import bootstrap as bootstraps
from legation import names, pipeline
from legation.cli.flags import option, paint
from legation.cli.options import (
    CAPTURE,
    PROXYLESS,
    ROLE,
    Asker,
    deployments,
    existing,
    hooks,
    ip,
    mesh,
    mesh_config,
    pairs,
    port_pairs,
    role_of,
)
from legation.hooks import Hook
from legation.ingest import files
from legation.model.proxy import GATEWAY_LABELS, Capture, Role
from legation.problems import Severity
from legation.render import printed


@click.command()
@click.argument("directory")
@option("--role", type=ROLE, required=True, help="Who is asking.")
@option(
    "--name", default="render", help="Its name, like a pod's: it says which workload is called.", show_default=False
)
@option("--namespace", default="default", help="The proxy's namespace.")
@option("--capture", type=CAPTURE, default="none", help="How a sidecar's traffic reaches it.")
@option("--label", multiple=True, callback=pairs, help="A label of the proxy, KEY=VALUE.")
@option("--map-port", multiple=True, callback=port_pairs, help="WRITTEN=REAL: where a written port is served.")
@option("--bind", callback=ip, default="127.0.0.1", help="The address of a sidecar's own listeners.")
@option("--locality", default="", help="Where it runs, REGION/ZONE/SUBZONE.", show_default=False)
@option("-o", "--output", type=click.Choice(["json", "yaml"]), default="json", help="The form of the resources.")
@mesh_config()
@hooks()
@deployments()
def render(
    directory: str,
    role: str,
    name: str,
    namespace: str,
    capture: str,
    label: dict[str, str],
    map_port: dict[int, int],
    bind: str,
    locality: str,
    output: str,
    mesh_config: str | None,
    hooks: Hook | None,
    deployments: str,
) -> None:
    """Print the Envoy resources that such a proxy gets. Documents with errors are left out, and told."""
    asker = Asker(role, namespace, label, map_port, bind, locality, name, capture)
    (directory,) = existing((directory,))
    sources = (directory, mesh_config) if mesh_config else (directory,)
    compiled = pipeline.compile(files.read_tree(sources), asker.proxy(), mesh(deployments), mesh_config, hooks)
    content = {
        table: [printed.message(found) for _, found in sorted(compiled.snapshot.of(type_url).items())]
        for table, type_url in _TABLES.items()
    }
    click.echo(json.dumps(content, indent=2) if output == "json" else yaml.safe_dump(content, sort_keys=False))
    bad = [problem for problem in compiled.problems if problem.severity is Severity.ERROR]
    for problem in bad:
        click.echo(paint(problem), err=True)
    sys.exit(1 if bad else 0)


_TABLES = {
    "listeners": names.LISTENER,
    "routes": names.ROUTE,
    "clusters": names.CLUSTER,
    "endpoints": names.ENDPOINT,
    "secrets": names.SECRET,
}


@click.command()
@option("--role", type=ROLE, required=True, help="What the proxy is.")
@option("--name", required=True, help="Its name, like a pod's.")
@option("--namespace", default="default", help="Its namespace.")
@option("--ip", default="127.0.0.1", help="Its own address.")
@option("--label", multiple=True, callback=pairs, help="A label, KEY=VALUE.")
@option("--capture", type=CAPTURE, default="none", help="How a sidecar's traffic reaches it.")
@option("--bind", default="127.0.0.1", help="The address of a sidecar's own listeners.")
@option("--xds", default="127.0.0.1:15010", help="Where the server is, HOST:PORT or unix:PATH.")
@option("--admin", default="127.0.0.1:15000", help="Envoy's admin interface, HOST:PORT.")
@option("--variant", type=click.Choice([str(known) for known in bootstraps.Variant]), default="delta", help="Of xDS.")
@option("--map-port", multiple=True, callback=port_pairs, help="WRITTEN=REAL: where a written port is served.")
@option("--locality", default="", help="Where it runs, REGION/ZONE/SUBZONE.", show_default=False)
@option(
    "--tls-ca", default="", help="For TLS: the authorities of the server's certificate, a path on the proxy's host."
)
@option("--tls-cert", default="", help="The proxy's certificate, a path on its host.")
@option("--tls-key", default="", help="Its key.")
@option("--jwt", default="", help="A file with a token, instead of a certificate.")
@option("--xds-server-name", default="", help="The name in the server's certificate. [default: the host of --xds]")
@click.option("--out", default="", help="Write bootstrap.yaml and what it names there, instead of printing it.")
def bootstrap(
    role: str, label: dict[str, str], capture: str, variant: str, map_port: dict[int, int], tls_ca: str, tls_cert: str,
    tls_key: str, jwt: str, xds_server_name: str, out: str, **rest: Any,
) -> None:  # fmt: skip
    """Print Envoy's bootstrap, for `envoy -c`; with TLS it needs a directory, --out.

    For the role `grpc` it is the JSON that gRPC's own library reads, from the file that GRPC_XDS_BOOTSTRAP names.
    """
    own = label or (GATEWAY_LABELS if role == Role.GATEWAY else {})
    secure = None
    if tls_ca or tls_cert or tls_key or jwt or xds_server_name:
        if not (tls_ca and (out or role == PROXYLESS)):
            raise click.UsageError("TLS needs --tls-ca, and --out for the files that Envoy reads beside its bootstrap")
        folder, ca, cert, key, token = (
            os.path.abspath(path) if path else "" for path in (out, tls_ca, tls_cert, tls_key, jwt)
        )
        secure = bootstraps.Secure(folder, ca, cert, key, token, xds_server_name)
    try:
        options = bootstraps.Options(
            role=role_of(role), labels=own, capture=Capture(capture), variant=bootstraps.Variant(variant),
            port_map=map_port, secure=secure, **rest,
        )  # fmt: skip
        text = bootstraps.for_grpc(options) if role == PROXYLESS else bootstraps.bootstrap(options)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if not out:
        click.echo(text, nl=False)
        return
    try:
        os.makedirs(out, exist_ok=True)
        files = {"grpc.json": text} if role == PROXYLESS else {**bootstraps.sds_files(options), "bootstrap.yaml": text}
        for name, content in files.items():
            Path(out, name).write_text(content, encoding="utf-8")
            click.echo(os.path.join(out, name))
    except OSError as error:
        click.echo(f"not written: {error}", err=True)
        sys.exit(1)
