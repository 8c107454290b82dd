"""Commands that ask a running server: status, wait."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import grpc
import yaml

from legation.admin.v1 import admin_pb2
from legation.cli import standing
from legation.cli.flags import F, option

SERVICE = admin_pb2.DESCRIPTOR.services_by_name["Admin"]
PATIENCE = 10.0
"""Seconds for a server that is there to begin an answer."""
_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),  # the server is named, not looked for
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
_UNREACHED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.DEADLINE_EXCEEDED)


def _server(_: click.Context, parameter: click.Parameter, written: str) -> str:
    """`HOST:PORT` or `unix:PATH`."""
    host, _sign, port = written.rpartition(":")
    if not (written.startswith("unix:") and len(written) > 5) and not (host and port.isdigit() and int(port) < 65536):
        raise click.BadParameter(f"{written!r} is not HOST:PORT or unix:PATH", param=parameter)
    return written


def _span(_: click.Context, parameter: click.Parameter, written: str) -> float:
    """`30s`, `5m`, `1h`, `500ms`; a bare number is seconds."""
    for unit, seconds in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)):
        if written.endswith(unit):
            try:
                found = float(written.removesuffix(unit)) * seconds
            except ValueError:
                break
            if 0 < found <= 86400:
                return found
            break
    raise click.BadParameter(f"{written!r} is not a span of time like 30s or 2m", param=parameter)


_server_option = option(
    "--server", default="127.0.0.1:15010", callback=_server, help="Where the server is, HOST:PORT or unix:PATH."
)
_SECURE = {
    "--server-ca": "The authorities of the server's certificate, in PEM: TLS is spoken then.",
    "--client-cert": "Your own certificate for TLS; it needs an entry among the `administrators` of the server's policy.",
    "--client-key": "Its key.",
}


def _asks(command: F) -> F:
    """The flags that say which server is asked, and how."""
    for flag, help_text in reversed(_SECURE.items()):
        command = option(
            flag, default=None, metavar="FILE", type=click.Path(exists=True, dir_okay=False), help=help_text
        )(command)
    return _server_option(command)


_output_option = option(
    "-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", help="The form of the answer."
)


@click.command()
@_asks
@_output_option
@click.option("-w", "--watch", is_flag=True, help="Go on telling what changes, until Ctrl-C.")
def status(output: str, watch: bool, **where: Any) -> None:
    """Show who has what: proxies, revisions, refusals; held documents and problems. Exits 1 while something is wrong."""
    known = standing.Known()
    with _asking(**where) as channel:
        for message in _told(channel, "Watch", admin_pb2.WatchRequest(), None if watch else PATIENCE):
            known.take(message)
            if not message.complete:
                continue
            if output == "json":
                click.echo(json.dumps(known.as_json(), indent=None if watch else 2))
            elif output == "yaml":
                click.echo(("---\n" if watch else "") + yaml.safe_dump(known.as_json(), sort_keys=False), nl=False)
            else:
                standing.show(known, fresh=watch)
            if not watch:
                break
    sys.exit(1 if known.is_wrong else 0)


@click.command()
@_asks
@option("--revision", default="", help="Wait for this one. [default: the newest, with all that is saved by now]")
@option("--timeout", default="30s", callback=_span, help="How long, like 30s or 2m.")
@option("--proxies", type=click.IntRange(0), default=1, help="How many proxies must be there at least.")
@_output_option
def wait(revision: str, timeout: float, proxies: int, output: str, **where: Any) -> None:
    """Wait until every connected proxy has a revision, also for a server that is about to start.

    Exits 1, and says who has not got it, if that takes too long.
    """
    request = admin_pb2.WaitRequest(revision=revision, proxies=proxies)
    last = admin_pb2.WaitResponse()
    is_there = False
    with _asking(**where) as channel:
        try:
            for message in _told(channel, "Wait", request, timeout, patient=True):
                last, is_there = message, True
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
    if not is_there:
        _not_there(where["server"], f"not within {timeout:g} s")
        sys.exit(3)
    # Of the newest revision one expects what the files say; of one that is named, what it was.
    is_fine = last.done and (bool(revision) or not (last.held or last.errors))
    if output == "text":
        for line in standing.waited(last, revision, proxies, timeout):
            click.echo(line, err=not is_fine)
    else:
        content = standing.waited_as_json(last)
        click.echo(json.dumps(content, indent=2) if output == "json" else yaml.safe_dump(content, sort_keys=False))
    sys.exit(0 if is_fine else 1)


@contextmanager
def _asking(
    server: str, server_ca: str | None, client_cert: str | None, client_key: str | None
) -> Iterator[grpc.Channel]:
    """A channel to a server; what goes wrong on it in words, with the exit code that says what kind of trouble it is."""
    if (client_cert is None) != (client_key is None) or (client_cert and not server_ca):
        raise click.UsageError("a certificate needs --client-cert, --client-key and --server-ca")
    before = signal.signal(signal.SIGINT, _leave)
    try:
        with _channel(server, server_ca, client_cert, client_key) as channel:
            yield channel
    except grpc.RpcError as error:
        code, words = error.code(), error.details()
        if code is grpc.StatusCode.UNAVAILABLE:
            _not_there(server, words or "")
        elif code is grpc.StatusCode.UNIMPLEMENTED:
            click.echo(f"what answers at {server} is no Legation, or an older one", err=True)
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
            click.echo(f"{server} does not answer within {PATIENCE:g} s", err=True)
        else:
            click.echo(f"{server} says: {words}", err=True)
        sys.exit(3 if code in _UNREACHED else 1)
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(*_: object) -> None:
    """Ctrl-C. An exception would be raised wherever gRPC just is, also where nobody can catch it."""
    os._exit(128 + signal.SIGINT)


def _not_there(server: str, words: str) -> None:
    click.echo(f"no server answers at {server}: {words}", err=True)
    click.echo("start one with `legation serve DIR`, or say where it is with --server or LEGATION_SERVER", err=True)


def _channel(server: str, *files: str | None) -> grpc.Channel:
    if files[0] is None:
        return grpc.insecure_channel(server, options=_OPTIONS)
    authorities, certificate, key = (Path(file).read_bytes() if file is not None else None for file in files)
    credentials = grpc.ssl_channel_credentials(authorities, key, certificate)
    return grpc.secure_channel(server, credentials, options=_OPTIONS)


def _told(
    channel: grpc.Channel, method: str, request: Any, timeout: float | None, *, patient: bool = False
) -> Iterator[Any]:
    """What a method answers. Who is `patient` waits for a server that is not there yet."""
    described = SERVICE.methods_by_name[method]
    answer: Callable[[bytes], Any] = getattr(admin_pb2, described.output_type.name).FromString
    call = channel.unary_stream(
        f"/{SERVICE.full_name}/{method}",
        request_serializer=type(request).SerializeToString, response_deserializer=answer,
    )  # fmt: skip
    yield from call(request, timeout=timeout, wait_for_ready=patient)
