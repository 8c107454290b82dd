"""The page for people: one self-contained piece of HTML about proxies, held documents and problems."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from hashlib import sha256
from html import escape

from legation.problems import Problem, Severity, in_order
from legation.status import ProxyStatus, TypeStatus

SHOWN = 200
"""How many proxies and findings the page lists; `/debug/…` has them all."""

REFRESH = 5
"""Seconds until the page asks again."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #667085; --line: #e3e7ee; --paper: #f7f8fa; --card: #fff;
  --good: #127a4b; --wait: #9a6700; --bad: #b42318; --info: #175cd3 }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #98a2b3; --line: #2b3442; --paper: #10151d;
  --card: #171e29; --good: #4cc38a; --wait: #e0b040; --bad: #ff7b6f; --info: #7cb0ff } }
* { box-sizing: border-box }
body { margin: 0; padding: 2rem clamp(1rem, 5vw, 4rem); background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; margin-bottom: 1.5rem }
h1 { margin: 0; font-size: 1.5rem; letter-spacing: -.02em }
h2 { margin: 2rem 0 .5rem; font-size: 1rem }
h2 small, header small, .soft { color: var(--soft); font-weight: 400 }
code, td, .where { font-family: ui-monospace, monospace; font-size: .87em }
section { overflow-x: auto; border: 1px solid var(--line); border-radius: .6rem; background: var(--card) }
section > p { margin: 0; padding: .8rem 1rem }
table { width: 100%; border-collapse: collapse }
th, td { padding: .5rem 1rem; text-align: left; vertical-align: top }
th { color: var(--soft); font-size: .8rem; font-weight: 500 }
tr + tr td, tbody td, li + li { border-top: 1px solid var(--line) }
ul { margin: 0; padding: 0; list-style: none }
li { padding: .6rem 1rem; border-left: 3px solid var(--info) }
li.error { border-left-color: var(--bad) }
li.warning { border-left-color: var(--wait) }
.good { color: var(--good) } .wait { color: var(--wait) } .bad { color: var(--bad) }
.pill { display: inline-block; margin-right: .6rem; white-space: nowrap }
.words { color: var(--bad); white-space: pre-wrap; overflow-wrap: anywhere }
nav a { margin-right: 1rem; color: var(--info) }
footer { margin-top: 2rem; color: var(--soft); font-size: .87rem }
"""

STYLE_HASH = f"sha256-{b64encode(sha256(_STYLE.encode()).digest()).decode()}"
"""The style sheet's name in a Content-Security-Policy, which then needs to allow no other."""


def page(
    ready: bool, revision: str, proxies: Sequence[ProxyStatus], held: Sequence[Problem], problems: Sequence[Problem]
) -> str:
    """The HTML. Whatever clients and files say is escaped."""
    synced = sum(proxy.synced for proxy in proxies)
    state = '<span class="good">● ready</span>' if ready else '<span class="wait">● loading</span>'
    known = f"<small>revision <code>{escape(revision)}</code></small>" if revision else ""
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{REFRESH}">
<title>Legation</title>
<style>{_STYLE}</style>
<header><h1>Legation</h1>{state}{known}</header>
<h2>Proxies <small>{synced} of {len(proxies)} in sync</small></h2>
<section>{_proxies(proxies)}</section>
<h2>Held documents <small>{len(held)}, served as last accepted</small></h2>
<section>{_findings(held, "Every document is served as its file says.")}</section>
<h2>Problems <small>{len(problems)}</small></h2>
<section>{_findings(problems, "Nothing is wrong in the files.")}</section>
<footer><nav><a href="/debug/proxies">proxies</a><a href="/debug/problems">problems</a><a href="/metrics">metrics</a>
<a href="/readyz">ready?</a></nav></footer>
</html>
"""


def _proxies(proxies: Sequence[ProxyStatus]) -> str:
    if not proxies:
        return '<p class="soft">No proxy is connected. Make one with <code>legation bootstrap</code>.</p>'
    # What needs attention stands on top.
    listed = sorted(proxies, key=lambda proxy: (proxy.synced, proxy.namespace, proxy.id))
    rows = "".join(map(_proxy, listed[:SHOWN]))
    head = "<thead><tr><th>Proxy<th>Role<th>Namespace<th>Stream<th>Types</thead>"
    return f"<table>{head}<tbody>{rows}</tbody></table>{_more(len(listed), '/debug/proxies')}"


def _proxy(proxy: ProxyStatus) -> str:
    pills = "".join(_pill(short_type, of) for short_type, of in sorted(proxy.types.items()))
    words = "".join(
        f'<div class="words">{escape(short_type)}: {escape(of.error)}</div>'
        for short_type, of in sorted(proxy.types.items())
        if of.error
    )
    stream = escape(proxy.variant) if proxy.connected else '<span class="wait">gone</span>'
    cells = (
        f'{escape(proxy.id)}<div class="soft">{escape(proxy.version)} {escape(proxy.peer)}</div>',
        escape(proxy.role), escape(proxy.namespace), stream, pills + words,
    )  # fmt: skip
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells)


def _pill(short_type: str, of: TypeStatus) -> str:
    look, sign = ("bad", "✗") if of.error else ("good", "✓") if of.synced else ("wait", "…")
    title = f"sent {of.sent or 'nothing'}, acknowledged {of.acked or 'nothing'}"
    return f'<span class="pill {look}" title="{escape(title)}">{sign} {escape(short_type)}</span>'


def _findings(problems: Iterable[Problem], none: str) -> str:
    listed = sorted(in_order(problems), key=lambda problem: problem.severity)
    if not listed:
        return f'<p class="soft">{none}</p>'
    return f"<ul>{''.join(map(_finding, listed[:SHOWN]))}</ul>{_more(len(listed), '/debug/problems')}"


def _finding(problem: Problem) -> str:
    where = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    what = " ".join(part for part in (problem.object, problem.path) if part)
    hint = f'<div class="soft">{escape(problem.hint)}</div>' if problem.hint else ""
    look = "bad" if problem.severity is Severity.ERROR else "wait" if problem.severity is Severity.WARNING else "soft"
    return (
        f'<li class="{problem.severity}"><span class="{look}">{problem.severity}</span> {escape(problem.message)}'
        f' <span class="soft">{escape(problem.code)}</span>'
        f'<div class="where soft">{escape(where)} {escape(what)}</div>{hint}'
    )


def _more(count: int, path: str) -> str:
    return f'<p class="soft">and {count - SHOWN} more: <a href="{path}">{path}</a></p>' if count > SHOWN else ""
