# ruff: noqa: E501
"""Documents with one thing wrong with each, a row a line. The mark ⮞ stands right before the place that is told."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from legation.model.meta import Key
from legation.problems import Severity

# fmt: off
MARK = "⮞"
ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO


class Case(NamedTuple):
    """A document with one mark, and the finding that belongs there."""

    name: str
    text: str
    path: str
    says: str
    hint: str
    severity: Severity = ERROR
    code: str = "IST0106"


def about(kind: str, spec: str, group: str = "networking.istio.io/v1", name: str = "x") -> str:
    body = textwrap.indent(textwrap.dedent(spec).strip("\n"), "  ")
    return f"apiVersion: {group}\nkind: {kind}\nmetadata:\n  name: {name}\nspec:\n{body}\n"


def vs(http: str, more: str = "") -> str:
    """A VirtualService with one rule."""
    rule = textwrap.indent(textwrap.dedent(http).strip("\n"), "  ")
    return about("VirtualService", f"hosts: [reviews]\n{textwrap.dedent(more)}http:\n-{rule[1:]}")


def service(spec: str) -> str:
    return about("Service", spec, "v1")


ROUTE = "route: [{destination: {host: reviews}}]"


def routed(more: str) -> str:
    return vs(f"{ROUTE}\n{textwrap.dedent(more)}")


def gateway(server: str) -> str:
    rule = textwrap.indent(textwrap.dedent(server).strip("\n"), "  ")
    return about("Gateway", f"servers:\n-{rule[1:]}")


def rule(more: str) -> str:
    return about("DestinationRule", f"host: reviews\n{textwrap.dedent(more)}")


def entry(more: str, head: str = "hosts: [a.example.com]\nresolution: STATIC\n") -> str:
    return about("ServiceEntry", f"{head}{textwrap.dedent(more)}")


PORT = "port: {number: 8080, name: http, protocol: HTTP}"
ANY = 'hosts: ["*"]'
HTTPS = f"port: {{number: 443, name: https, protocol: HTTPS}}\n{ANY}"
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n"

SCHEMA = [
    Case("unknown", vs(f"{ROUTE}\n⮞retires: {{attempts: 1}}"), "spec.http[0].retires", "unknown field `retires`", "`retries`"),
    Case("snake", routed("match: [{⮞stat_prefix: a}]"), "spec.http[0].match[0].stat_prefix", "unknown", "`statPrefix`"),
    Case("nothing like it", routed("⮞zzz: 1"), "spec.http[0].zzz", "unknown field", "known here: name, match"),
    Case("in spec", about("VirtualService", f"⮞host: [a]\nhttp: [{{{ROUTE}}}]"), "spec.host", "unknown field", "`hosts`"),
    Case("beside spec", vs(ROUTE) + "⮞hosts: [a]\n", "hosts", "unknown field", "below `spec`"),
    Case("number for text", about("VirtualService", f"hosts: [⮞8080]\nhttp: [{{{ROUTE}}}]"), "spec.hosts[0]", "a text is needed", '"8080"'),
    Case("bool for text", routed("name: ⮞true"), "spec.http[0].name", "a text is needed", '"true"'),
    Case("list for text", routed("name: ⮞[a]"), "spec.http[0].name", "a text is needed", "plain value"),
    Case("text for number", vs('route: [{destination: {host: a, port: {number: ⮞"80"}}}]'), "spec.http[0].route[0].destination.port.number", "a whole number", "without quotes: 80"),
    Case("float for number", vs("route: [{destination: {host: a}, weight: ⮞10.0}]"), "spec.http[0].route[0].weight", "10.0", "write 10"),
    Case("bool for number", vs("route: [{destination: {host: a}, weight: ⮞true}]"), "spec.http[0].route[0].weight", "a whole number", "number"),
    Case("text for bool", routed('match: [{ignoreUriCase: ⮞"true"}]'), "spec.http[0].match[0].ignoreUriCase", "true or false", "without quotes"),
    Case("number for mapping", vs("route: [{destination: {host: a, port: ⮞9080}}]"), "spec.http[0].route[0].destination.port", "mapping of fields", "{number: 9080}"),
    Case("text for match", routed("match: [{uri: ⮞/a}]"), "spec.http[0].match[0].uri", "mapping of fields", "prefix"),
    Case("mapping for list", vs("route: ⮞{destination: {host: a}}"), "spec.http[0].route", "a list", "'- '"),
    Case("list for map", routed("match: [{headers: ⮞[a]}]"), "spec.http[0].match[0].headers", "mapping of names", "name: value"),
    Case("nothing in a list", vs("route: [⮞null]"), "spec.http[0].route[0]", "nothing is written", "destination"),
    Case("nothing in a map", routed("match: [{headers: {a: ⮞null}}]"), "spec.http[0].match[0].headers.a", "nothing is written", "{exact"),
    Case("missing", vs("route: [{⮞destination: {subset: v1}}]"), "spec.http[0].route[0].destination.host", "`host` is missing", "the name of a service"),
    Case("missing in an item", vs("route:\n- ⮞weight: 1"), "spec.http[0].route[0].destination", "`destination` is missing", "{host: reviews}"),
    Case("no spec", "⮞apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: x}\n", "spec", "`spec` is missing", "add `spec`"),
    Case("choice", rule("trafficPolicy: {loadBalancer: {simple: ⮞round_robin}}"), "spec.trafficPolicy.loadBalancer.simple", "must be one of", "ROUND_ROBIN?"),
    Case("choice of numbers", vs("redirect: {uri: /a, redirectCode: ⮞304}"), "spec.http[0].redirect.redirectCode", "must be one of", "301"),
    Case("too large", gateway(f"port: {{number: ⮞70000, name: a, protocol: HTTP}}\n{ANY}"), "spec.servers[0].port.number", "too large", "65535"),
    Case("too small", vs("route: [{destination: {host: a}, weight: ⮞-1}]"), "spec.http[0].route[0].weight", "too small", "0 is the least"),
    Case("huge", vs(f"route: [{{destination: {{host: a}}, weight: ⮞{10**30}}}]"), "spec.http[0].route[0].weight", "too large", "2147483647"),
    Case("empty list", about("Gateway", "servers: ⮞[]"), "spec.servers", "empty", "write something"),
    Case("two certificates at most", gateway(f"port: {{number: 443, name: a, protocol: HTTPS}}\n{ANY}\ntls: {{mode: SIMPLE, credentialNames: ⮞[a, b, c]}}"), "spec.servers[0].tls.credentialNames", "too long", "2 items"),
    Case("too long a text", about("WorkloadEntry", f"address: 10.0.0.1\nserviceAccount: ⮞{'a' * 254}"), "spec.serviceAccount", "too long", "253"),
    Case("pattern", about("WorkloadGroup", "template: {}\nprobe: {httpGet: {port: 80, httpHeaders: [{name: ⮞'a b'}]}}"), "spec.probe.httpGet.httpHeaders[0].name", "not allowed", "letters"),
    Case("a map's key", about("VirtualService", f"hosts: [a]\nhttp: [{{match: [{{sourceLabels: {{⮞'a b': c}}}}], {ROUTE}}}]"), "spec.http[0].match[0].sourceLabels.a b", "no label key", "letters"),
    Case("an empty key", routed("match: [{queryParams: {⮞'': {exact: a}}}]"), "spec.http[0].match[0].queryParams.", "empty name", "name"),
    Case("nothing after a key", routed("⮞timeout:"), "spec.http[0].timeout", "counts as left out", "remove the key", WARNING, "IST0133"),
]

DURATIONS = [
    Case("number", routed("timeout: ⮞5"), "spec.http[0].timeout", "needs a unit", "5s"),
    Case("number as text", routed('timeout: ⮞"5"'), "spec.http[0].timeout", "no unit", "5s"),
    Case("days", routed("timeout: ⮞2d"), "spec.http[0].timeout", "no unit", "48h"),
    Case("words", routed("timeout: ⮞5 seconds"), "spec.http[0].timeout", "no duration", "5s"),
    Case("nonsense", routed("timeout: ⮞soon"), "spec.http[0].timeout", "no duration", "1.5s"),
    Case("empty", routed('timeout: ⮞""'), "spec.http[0].timeout", "no duration", "1.5s"),
    Case("negative", routed("timeout: ⮞-5s"), "spec.http[0].timeout", "below zero", "1ms"),
    Case("zero", routed("timeout: ⮞0s"), "spec.http[0].timeout", "too short", "1ms"),
    Case("too fine", routed("timeout: ⮞1500us"), "spec.http[0].timeout", "finer than a millisecond", "whole"),
    Case("too long", routed("timeout: ⮞9999999h"), "spec.http[0].timeout", "292 years", "2562047h"),
    Case("list", routed("timeout: ⮞[]"), "spec.http[0].timeout", "a duration is needed", "unit"),
]

VIRTUAL_SERVICE = [
    Case("redirect and route", vs("redirect: {uri: /a}\n⮞" + ROUTE), "spec.http[0].route", "exclude each other", "remove"),
    Case("redirect and fault", vs("redirect: {uri: /a}\n⮞fault: {abort: {httpStatus: 500, percentage: {value: 1}}}"), "spec.http[0].fault", "exclude", "remove"),
    Case("answer and rewrite", vs("directResponse: {status: 200}\n⮞rewrite: {uri: /}"), "spec.http[0].rewrite", "exclude", "remove"),
    Case("delegate and route", vs(f"delegate: {{name: a}}\n⮞{ROUTE}"), "spec.http[0].route", "exclude", "remove"),
    Case("mirror and mirrors", routed("mirror: {host: a}\n⮞mirrors: [{destination: {host: b}}]"), "spec.http[0].mirrors", "exclude", "remove"),
    Case("no action", vs("⮞name: a"), "spec.http[0]", "must be given", "`route`"),
    Case("a wrong action still is one", vs("route: ⮞3"), "spec.http[0].route", "a list", "'- '"),
    Case("weights sum to 0", vs("⮞route: [{destination: {host: a}}, {destination: {host: b}, weight: 0}]"), "spec.http[0].route", "sum to 0", "weight"),
    Case("no protocol", about("VirtualService", "hosts: [a]").replace("spec:", "⮞spec:"), "spec", "one of `http`, `tcp` and `tls`", "add"),
    Case("host with port", about("VirtualService", f"hosts: [⮞'a.b:80']\nhttp: [{{{ROUTE}}}]"), "spec.hosts[0]", "no host name", "port"),
    Case("host with scheme", about("VirtualService", f"hosts: [⮞'https://a']\nhttp: [{{{ROUTE}}}]"), "spec.hosts[0]", "no host name", "scheme"),
    Case("host with underscore", about("VirtualService", f"hosts: [⮞a_b]\nhttp: [{{{ROUTE}}}]"), "spec.hosts[0]", "no host name", "'-'"),
    Case("wildcard inside", about("VirtualService", f"hosts: [⮞'a.*.b']\nhttp: [{{{ROUTE}}}]"), "spec.hosts[0]", "beginning", "DNS"),
    Case("host twice", about("VirtualService", f"hosts: [a, ⮞a]\nhttp: [{{{ROUTE}}}]"), "spec.hosts[1]", "twice", "keep one"),
    Case("hosts overlap", about("VirtualService", f"gateways: [g]\nhosts: ['*.b.com', ⮞a.b.com]\nhttp: [{{{ROUTE}}}]"), "spec.hosts[1]", "overlap", "keep one"),
    Case("any host in the mesh", about("VirtualService", f"hosts: [⮞'*']\nhttp: [{{{ROUTE}}}]"), "spec.hosts[0]", "only for gateways", "name the hosts"),
    Case("no hosts with gateways", about("VirtualService", f"gateways: [g]\nhttp: [{{{ROUTE}}}]").replace("spec:", "⮞spec:"), "spec", "`hosts` is missing", "add `hosts`"),
    Case("delegate of a delegate", about("VirtualService", "http: [{⮞delegate: {name: b}}]"), "spec.http[0].delegate", "no delegates of its own", "name it where"),
    Case("gateway", vs(ROUTE, "gateways: [⮞a/b/c]\n"), "spec.gateways[0]", "no gateway", "namespace/name"),
    Case("gateway the old way", vs(ROUTE, "gateways: [⮞gw.infra.svc.cluster.local]\n"), "spec.gateways[0]", "old way", "infra/gw", WARNING, "IST0133"),
    Case("exported to nobody", vs(ROUTE, "exportTo: [⮞'~']\n"), "spec.exportTo[0]", "hides", "."),
    Case("all and more", vs(ROUTE, "exportTo: [a, ⮞'*']\n"), "spec.exportTo[1]", "stands alone", "remove"),
    Case("exported twice", vs(ROUTE, "exportTo: [a, ⮞a]\n"), "spec.exportTo[1]", "twice", "remove"),
    Case("no namespace", vs(ROUTE, "exportTo: [⮞a.b]\n"), "spec.exportTo[0]", "no namespace", "namespace"),
    Case("expression", routed("match: [{uri: {regex: ⮞'(a'}}]"), "spec.http[0].match[0].uri.regex", "RE2", "RE2"),
    Case("look-ahead", routed("match: [{uri: {regex: ⮞'(?=a)'}}]"), "spec.http[0].match[0].uri.regex", "RE2", "look-ahead"),
    Case("star", routed("match: [{uri: {regex: ⮞'*'}}]"), "spec.http[0].match[0].uri.regex", "RE2", ".*"),
    Case("long expression", routed(f"match: [{{uri: {{regex: ⮞{'a' * 1025}}}}}]"), "spec.http[0].match[0].uri.regex", "1024", "RE2"),
    Case("no expression", routed("match: [{uri: {regex: ⮞''}}]"), "spec.http[0].match[0].uri.regex", "empty", "remove"),
    Case("two ways to match", routed("match: [{uri: {exact: a, ⮞prefix: b}}]"), "spec.http[0].match[0].uri.prefix", "exclude", "keep"),
    Case("two ways, a header", routed("match: [{headers: {a: {exact: a, ⮞prefix: b}}}]"), "spec.http[0].match[0].headers.a.prefix", "exclude", "keep"),
    Case("empty prefix", routed("match: [{method: {prefix: ⮞''}}]"), "spec.http[0].match[0].method.prefix", "empty", "remove"),
    Case("header's name", routed("match: [{headers: {⮞'a b': {exact: a}}}]"), "spec.http[0].match[0].headers.a b", "no header", "letters"),
    Case("claims", vs(f"{ROUTE}\nmatch: [{{headers: {{⮞'@request.auth.claims.sub': {{exact: a}}}}}}]", "gateways: [g]\n"), 'spec.http[0].match[0].headers["@request.auth.claims.sub"]', "never true", "remove", WARNING, "LEG0301"),
    Case("claims in the mesh", routed("match: [{withoutHeaders: {⮞'@request.auth.claims.sub': {exact: a}}}]"), 'spec.http[0].match[0].withoutHeaders["@request.auth.claims.sub"]', "only be matched at gateways", "without `mesh`"),
    Case("source namespace", routed("match: [{sourceNamespace: ⮞a.b}]"), "spec.http[0].match[0].sourceNamespace", "no valid name", "letters"),
    Case("any destination", vs("route: [{destination: {host: ⮞'*'}}]"), "spec.http[0].route[0].destination.host", "no destination", "one service"),
    Case("subset", vs("route: [{destination: {host: a, subset: ⮞v1.0}}]"), "spec.http[0].route[0].destination.subset", "no valid name", "letters"),
    Case("empty redirect", vs("⮞redirect: {}"), "spec.http[0].redirect", "must be given", "`uri`"),
    Case("two redirects", vs("redirect: {uri: /a, ⮞prefixRewrite: /b}"), "spec.http[0].redirect.prefixRewrite", "exclude", "remove"),
    Case("two ports", vs("redirect: {port: 80, ⮞derivePort: FROM_REQUEST_PORT}"), "spec.http[0].redirect.derivePort", "exclude", "keep"),
    Case("prefix of an exact match", vs("match: [{⮞uri: {exact: /a}}]\nredirect: {prefixRewrite: /b}"), "spec.http[0].match[0].uri", "by prefix", "`prefix`"),
    Case("empty rewrite", routed("⮞rewrite: {}"), "spec.http[0].rewrite", "must be given", "`uri`"),
    Case("two rewrites", routed("rewrite: {uri: /a, ⮞uriRegexRewrite: {match: a, rewrite: b}}"), "spec.http[0].rewrite.uriRegexRewrite", "exclude", "remove"),
    Case("authority twice", routed("rewrite: {authority: a}\nheaders: {request: {set: {⮞Host: b}}}"), "spec.http[0].headers.request.set.Host", "twice", "keep one"),
    Case("status", vs("directResponse: {status: ⮞700}"), "spec.http[0].directResponse.status", "too large", "599"),
    Case("two bodies", vs("directResponse: {status: 200, body: {string: a, ⮞bytes: YQ==}}"), "spec.http[0].directResponse.body.bytes", "exclude", "keep"),
    Case("no base64", vs("directResponse: {status: 200, body: {bytes: ⮞'?'}}"), "spec.http[0].directResponse.body.bytes", "base64", "base64"),
    Case("large body", vs(f"directResponse: {{status: 200, body: {{string: ⮞{'a' * 102401}}}}}"), "spec.http[0].directResponse.body.string", "100 kB", "service", WARNING, "IST0133"),
    Case("too large a body", vs(f"directResponse: {{status: 200, body: {{string: ⮞{'a' * 1048577}}}}}"), "spec.http[0].directResponse.body.string", "1 MiB", "service"),
    Case("retry on", routed("retries: {attempts: 1, retryOn: ⮞'5xx,never'}"), "spec.http[0].retries.retryOn", '"never"', "gateway-error"),
    Case("retry with spaces", routed("retries: {attempts: 1, retryOn: ⮞'5xx, reset'}"), "spec.http[0].retries.retryOn", "spaces", "commas"),
    Case("retry never", routed("retries: {⮞perTryTimeout: 1s}"), "spec.http[0].retries.perTryTimeout", "without `attempts`", "attempts"),
    Case("no delay", routed("fault: {⮞delay: {percentage: {value: 1}}}"), "spec.http[0].fault.delay", "`fixedDelay` is missing", "5s"),
    Case("never delayed", routed("fault: {⮞delay: {fixedDelay: 1s}}"), "spec.http[0].fault.delay", "no request is delayed", "percentage", WARNING, "IST0133"),
    Case("exponential", routed("fault: {delay: {⮞exponentialDelay: 1s, percentage: {value: 1}}}"), "spec.http[0].fault.delay.exponentialDelay", "not offered", "fixedDelay"),
    Case("two delays", routed("fault: {delay: {fixedDelay: 1s, ⮞exponentialDelay: 1s, percentage: {value: 1}}}"), "spec.http[0].fault.delay.exponentialDelay", "exclude", "keep"),
    Case("old percent", routed("fault: {delay: {fixedDelay: 1s, ⮞percent: 1}}"), "spec.http[0].fault.delay.percent", "deprecated", "percentage", WARNING, "IST0002"),
    Case("never aborted", routed("fault: {⮞abort: {httpStatus: 500}}"), "spec.http[0].fault.abort", "no request is aborted", "percentage", WARNING, "IST0133"),
    Case("no status", routed("fault: {⮞abort: {percentage: {value: 1}}}"), "spec.http[0].fault.abort", "without a status", "httpStatus", WARNING, "IST0133"),
    Case("http2Error", routed("fault: {abort: {⮞http2Error: a, percentage: {value: 1}}}"), "spec.http[0].fault.abort.http2Error", "not offered", "httpStatus"),
    Case("two statuses", routed("fault: {abort: {httpStatus: 500, ⮞grpcStatus: OK, percentage: {value: 1}}}"), "spec.http[0].fault.abort.grpcStatus", "exclude", "keep"),
    Case("grpc status", routed("fault: {abort: {grpcStatus: ⮞UNAVAILBLE, percentage: {value: 1}}}"), "spec.http[0].fault.abort.grpcStatus", "must be one of", "UNAVAILABLE?"),
    Case("empty fault", routed("⮞fault: {}"), "spec.http[0].fault", "must be given", "`delay`"),
    Case("percentage", routed("fault: {abort: {httpStatus: 500, percentage: {value: ⮞101}}}"), "spec.http[0].fault.abort.percentage.value", "percentage", "100"),
    Case("pseudo header", routed("headers: {request: {set: {⮞':path': /a}}}"), 'spec.http[0].headers.request.set.:path', "cannot be changed", "rewrite"),
    Case("host removed", routed("headers: {request: {remove: [⮞host]}}"), "spec.http[0].headers.request.remove[0]", "cannot be removed", "rewrite"),
    Case("lone percent", routed("headers: {response: {add: {a: ⮞50%}}}"), "spec.http[0].headers.response.add.a", "a lone %", "%%"),
    Case("unknown command", routed("headers: {response: {add: {a: ⮞'%PROTOCL%'}}}"), "spec.http[0].headers.response.add.a", "no command %PROTOCL%", "%PROTOCOL%?"),
    Case("command in small letters", routed("headers: {response: {add: {a: ⮞'%req(a)%'}}}"), "spec.http[0].headers.response.add.a", "capitals", "%REQ"),
    Case("command without argument", routed("headers: {response: {add: {a: ⮞'%REQ%'}}}"), "spec.http[0].headers.response.add.a", "which", "%REQ("),
    Case("command with argument", routed("headers: {response: {add: {a: ⮞'%PROTOCOL(a)%'}}}"), "spec.http[0].headers.response.add.a", "no argument", "%PROTOCOL%"),
    Case("command with length", routed("headers: {response: {add: {a: ⮞'%PROTOCOL:3%'}}}"), "spec.http[0].headers.response.add.a", "cut", "colon"),
    Case("line break", routed('headers: {response: {add: {a: ⮞"a\\nb"}}}'), "spec.http[0].headers.response.add.a", "line breaks", "remove"),
    Case("share of no mirror", routed("⮞mirrorPercentage: {value: 1}"), "spec.http[0].mirrorPercentage", "without `mirror`", "add `mirror`", WARNING, "IST0133"),
    Case("cors method", routed("corsPolicy: {allowMethods: [⮞get]}"), "spec.http[0].corsPolicy.allowMethods[0]", "no HTTP method", "GET"),
    Case("cors age", routed("corsPolicy: {maxAge: ⮞1500ms}"), "spec.http[0].corsPolicy.maxAge", "whole seconds", "seconds"),
    Case("tls without match", about("VirtualService", "hosts: [a]\ntls:\n- ⮞route: [{destination: {host: a}}]"), "spec.tls[0].match", "`match` is missing", "match"),
    Case("tcp weights", about("VirtualService", "hosts: [a]\ntcp:\n- ⮞route: [{destination: {host: a}}, {destination: {host: a}}]"), "spec.tcp[0].route", "sum to 0", "weight"),
    Case("sni", about("VirtualService", "hosts: [a.b]\ntls: [{match: [{sniHosts: [⮞a.c]}], route: [{destination: {host: a}}]}]"), "spec.tls[0].match[0].sniHosts[0]", "none of `hosts`", "add it"),
    Case("origin", routed("corsPolicy: {allowOrigins: [⮞{}]}"), "spec.http[0].corsPolicy.allowOrigins[0]", "an origin without", "exact"),
    Case("empty origin", routed("corsPolicy: {allowOrigins: [{⮞exact: ''}]}").replace("{⮞exact", "⮞{exact"), "spec.http[0].corsPolicy.allowOrigins[0]", "an origin without", "exact"),
    Case("star as an origin", routed("corsPolicy: {allowOrigins: [{regex: ⮞'*'}]}"), "spec.http[0].corsPolicy.allowOrigins[0].regex", "RE2", ".*"),
    Case("star to rewrite", routed("rewrite: {uriRegexRewrite: {match: ⮞'*', rewrite: a}}"), "spec.http[0].rewrite.uriRegexRewrite.match", "RE2", ".*"),
    Case("large expression", routed("match: [{uri: {regex: ⮞'\\pL{99}'}}]"), "spec.http[0].match[0].uri.regex", "too complicated", "RE2"),
    Case("cors of an answer", vs("directResponse: {status: 200}\n⮞corsPolicy: {allowOrigins: [{exact: a}]}"), "spec.http[0].corsPolicy", "no effect", "remove", WARNING, "IST0133"),
    Case("headers", routed(f"⮞headers: {{request: {{set: {{{', '.join(f'a{n}: b' for n in range(1001))}}}}}}}"), "spec.http[0].headers", "1001 headers", "remove some"),
    Case("headers in two places", vs(f"⮞headers: {{response: {{add: {{{', '.join(f'a{n}: b' for n in range(600))}}}}}}}\nroute: [{{destination: {{host: a}}, headers: {{response: {{set: {{{', '.join(f'a{n}: b' for n in range(401))}}}}}}}}}]"), "spec.http[0].headers", "1001 headers", "remove some"),
    Case("heavy", vs("⮞route: [{destination: {host: a}, weight: 2147483647}, {destination: {host: b}, weight: 2147483647}, {destination: {host: c}, weight: 2}]"), "spec.http[0].route", "more than Envoy can count", "smaller"),
    Case("line break in a path", vs('redirect: {uri: ⮞"/a\\nb"}'), "spec.http[0].redirect.uri", "line break", "remove"),
    Case("long header", routed(f"headers: {{response: {{add: {{a: ⮞{'a' * 16385}}}}}}}"), "spec.http[0].headers.response.add.a", "16 KiB", "shorten"),
    Case("long parameter", routed(f"match: [{{queryParams: {{? ⮞{'a' * 1025} : {{exact: a}}}}}}]"), f"spec.http[0].match[0].queryParams.{'a' * 1025}", "too long", "1024"),
    Case("part of a name in a handshake", about("VirtualService", "hosts: ['*.b']\ntls: [{match: [{sniHosts: [⮞'*-a.b']}], route: [{destination: {host: a}}]}]"), "spec.tls[0].match[0].sniHosts[0]", "whole parts", "*.a.b"),
    Case("tls weights", about("VirtualService", "hosts: [a]\ntls:\n- match: [{sniHosts: [a]}]\n  ⮞route: [{destination: {host: a}}, {destination: {host: a}}]"), "spec.tls[0].route", "sum to 0", "weight"),
]

GATEWAY = [
    Case("protocol", gateway(f"port: {{number: 80, name: a, protocol: ⮞HTPP}}\n{ANY}"), "spec.servers[0].port.protocol", "no protocol", "HTTP"),
    Case("target port", gateway(f"port: {{number: 80, name: a, protocol: HTTP, ⮞targetPort: 8080}}\n{ANY}"), "spec.servers[0].port.targetPort", "no meaning", "remove"),
    Case("short host", gateway(f"{PORT}\nhosts: [⮞shop]"), "spec.servers[0].hosts[0]", "short name", "full name"),
    Case("partial wildcard", gateway(f"{PORT}\nhosts: [⮞'*shop.com']"), "spec.servers[0].hosts[0]", "whole parts", "*.shop.com"),
    Case("host's namespace", gateway(f"{PORT}\nhosts: [⮞'a.b/shop.com']"), "spec.servers[0].hosts[0]", "no namespace", "namespace/host"),
    Case("host twice", gateway(f"{PORT}\nhosts: [a.com, ⮞a.com]"), "spec.servers[0].hosts[1]", "twice", "remove", WARNING, "IST0133"),
    Case("bind", gateway(f"{PORT}\n{ANY}\nbind: ⮞localhost"), "spec.servers[0].bind", "no address", "IP address"),
    Case("port 0", gateway(f"port: {{number: ⮞0, name: a, protocol: HTTP}}\n{ANY}"), "spec.servers[0].port.number", "Unix sockets", "65535"),
    Case("socket's port", gateway(f"port: {{number: ⮞80, name: a, protocol: HTTP}}\n{ANY}\nbind: unix:///a"), "spec.servers[0].port.number", "no port", "0"),
    Case("names of ports", about("Gateway", f"servers:\n- {{{PORT}, {ANY}}}\n- {{port: {{number: 81, name: ⮞http, protocol: HTTP}}, {ANY}}}"), "spec.servers[1].port.name", "twice", "own name"),
    Case("https without tls", about("Gateway", f"servers:\n- ⮞port: {{number: 443, name: a, protocol: HTTPS}}\n  {ANY}"), "spec.servers[0]", "needs `tls`", "mode"),
    Case("tls on http", gateway(f"{PORT}\n{ANY}\n⮞tls: {{mode: SIMPLE, credentialName: a}}"), "spec.servers[0].tls", "clear text", "HTTPS"),
    Case("tls on tcp", gateway(f"port: {{number: 80, name: a, protocol: TCP}}\n{ANY}\n⮞tls: {{mode: SIMPLE, credentialName: a}}"), "spec.servers[0].tls", "no place", "TLS"),
    Case("no cipher", gateway(f"{HTTPS}\ntls: {{mode: SIMPLE, credentialName: a, cipherSuites: [AES128-SHA, ⮞RC4-MD5]}}"), "spec.servers[0].tls.cipherSuites[1]", "no suite", "AES128-SHA", WARNING, "IST0133"),
    Case("no cipher at all", gateway(f"{HTTPS}\ntls: {{mode: SIMPLE, credentialName: a, cipherSuites: [⮞RC4-MD5]}}"), "spec.servers[0].tls.cipherSuites[0]", "no suite", "AES128-SHA"),
    Case("no curve", gateway(f"{HTTPS}\ntls: {{mode: SIMPLE, credentialName: a, ecdhCurves: [⮞P-224]}}"), "spec.servers[0].tls.ecdhCurves[0]", "no curve", "P-256"),
    Case("versions", gateway(f"{HTTPS}\ntls: {{mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_3, maxProtocolVersion: ⮞TLSV1_2}}"), "spec.servers[0].tls.maxProtocolVersion", "no version", "around"),
    Case("names of clients", gateway(f"{HTTPS}\ntls: {{mode: SIMPLE, credentialName: a, ⮞subjectAltNames: [b]}}"), "spec.servers[0].tls.subjectAltNames", "no effect in mode SIMPLE", "MUTUAL", WARNING, "IST0133"),
    Case("version in the mesh", gateway(f"{HTTPS}\ntls: {{mode: ISTIO_MUTUAL, ⮞cipherSuites: [AES128-SHA]}}"), "spec.servers[0].tls.cipherSuites", "no effect in mode ISTIO_MUTUAL", "MUTUAL", WARNING, "IST0133"),
    Case("hash of a key", gateway(f"{HTTPS}\ntls: {{mode: MUTUAL, credentialName: a, verifyCertificateSpki: [⮞abc]}}"), "spec.servers[0].tls.verifyCertificateSpki[0]", "no SHA-256", "44"),
    Case("hash of a certificate", gateway(f"{HTTPS}\ntls: {{mode: MUTUAL, credentialName: a, verifyCertificateHash: [⮞abc]}}"), "spec.servers[0].tls.verifyCertificateHash[0]", "no SHA-256", "64"),
    Case("path", gateway(f"{HTTPS}\ntls: {{mode: SIMPLE, serverCertificate: ⮞/a~b, privateKey: /k}}"), "spec.servers[0].tls.serverCertificate", "has no ~", "move"),
    Case("no certificate", gateway(f"port: {{number: 443, name: a, protocol: HTTPS}}\n{ANY}\n⮞tls: {{mode: SIMPLE, privateKey: a}}"), "spec.servers[0].tls", "`serverCertificate` is missing", "credentialName"),
    Case("two certificates", gateway(f"port: {{number: 443, name: a, protocol: HTTPS}}\n{ANY}\ntls: {{mode: SIMPLE, credentialName: a, ⮞privateKey: a}}"), "spec.servers[0].tls.privateKey", "exclude", "remove"),
    Case("secret and secrets", gateway(f"port: {{number: 443, name: a, protocol: HTTPS}}\n{ANY}\ntls: {{mode: SIMPLE, credentialName: a, ⮞credentialNames: [a]}}"), "spec.servers[0].tls.credentialNames", "exclude", "keep"),
    Case("secrets and files", gateway(f"port: {{number: 443, name: a, protocol: HTTPS}}\n{ANY}\ntls: {{mode: SIMPLE, credentialNames: [a], ⮞privateKey: a}}"), "spec.servers[0].tls.privateKey", "exclude", "remove"),
    Case("name with dots", about("Gateway", f"servers: [{{{PORT}, {ANY}}}]", name="⮞a.b"), "metadata.name", "no dots", "a-b", ERROR, "LEG0204"),
]

DESTINATION_RULE = [
    Case("subset twice", rule("subsets: [{name: v1}, {name: ⮞v1}]"), "spec.subsets[1].name", "twice", "own"),
    Case("subset's name", rule("subsets: [{name: ⮞v1_0}]"), "spec.subsets[0].name", "no valid name", "letters"),
    Case("label's value", rule("subsets: [{name: a, labels: {version: ⮞'*'}}]"), "spec.subsets[0].labels.version", "no label value", "wildcards"),
    Case("number as a label", rule("subsets: [{name: a, labels: {version: ⮞1}}]"), "spec.subsets[0].labels.version", "a text is needed", '"1"'),
    Case("empty policy", rule("⮞trafficPolicy: {}"), "spec.trafficPolicy", "must be given", "`loadBalancer`"),
    Case("simple and hash", rule("trafficPolicy: {loadBalancer: {simple: RANDOM, ⮞consistentHash: {useSourceIp: true}}}"), "spec.trafficPolicy.loadBalancer.consistentHash", "exclude", "keep"),
    Case("old name", rule("trafficPolicy: {loadBalancer: {simple: ⮞LEAST_CONN}}"), "spec.trafficPolicy.loadBalancer.simple", "deprecated", "LEAST_REQUEST", WARNING, "IST0002"),
    Case("not yet", rule("trafficPolicy: {loadBalancer: {⮞zoneAwareLbSetting: {enabled: true}}}"), "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting", "not supported yet", "remove", WARNING, "LEG0301"),
    Case("not yet, in a subset", rule("subsets: [{name: a, trafficPolicy: {loadBalancer: {⮞zoneAwareLbSetting: {enabled: true}}}}]"), "spec.subsets[0].trafficPolicy.loadBalancer.zoneAwareLbSetting", "not supported yet", "remove", WARNING, "LEG0301"),
    Case("wrong, in what is not yet", rule("trafficPolicy: {tunnel: {targetHost: a.b, targetPort: ⮞65536}}"), "spec.trafficPolicy.tunnel.targetPort", "too large", "65535"),
    Case("share of endpoints", rule("trafficPolicy: {outlierDetection: {maxEjectionPercent: ⮞101}}"), "spec.trafficPolicy.outlierDetection.maxEjectionPercent", "too large", "100"),
    Case("too many probes", rule("trafficPolicy: {connectionPool: {tcp: {tcpKeepalive: {probes: ⮞128}}}}"), "spec.trafficPolicy.connectionPool.tcp.tcpKeepalive.probes", "too large", "127"),
    Case("too slow probes", rule("trafficPolicy: {connectionPool: {tcp: {tcpKeepalive: {time: ⮞10h}}}}"), "spec.trafficPolicy.connectionPool.tcp.tcpKeepalive.time", "more than a socket", "32767s"),
    Case("server name", rule(f"trafficPolicy: {{tls: {{mode: SIMPLE, sni: ⮞{'a' * 256}}}}}"), "spec.trafficPolicy.tls.sni", "255 bytes", "host"),
    Case("home", rule("trafficPolicy: {tls: {mode: MUTUAL, clientCertificate: ⮞~/a.pem, privateKey: b}}"), "spec.trafficPolicy.tls.clientCertificate", "nobody expands", "whole path"),
    Case("hash header", rule("trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: ⮞'a b'}}}"), "spec.trafficPolicy.loadBalancer.consistentHash.httpHeaderName", "no name of a header", "letters"),
    Case("hash cookie", rule("trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: ⮞'a;b'}}}}"), "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.name", "no name of a cookie", "letters"),
    Case("ring too large", rule("trafficPolicy: {loadBalancer: {consistentHash: {ringHash: {minimumRingSize: ⮞8388609}}}}"), "spec.trafficPolicy.loadBalancer.consistentHash.ringHash.minimumRingSize", "too large", "8388608"),
    Case("table too large", rule("trafficPolicy: {loadBalancer: {consistentHash: {maglev: {tableSize: ⮞5000011}}}}"), "spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize", "too large", "5000010"),
    Case("no locality", rule("trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: ⮞a//b, to: {b: 100}}]}}}"), "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].from", "no locality", "region/zone"),
    Case("half a wildcard", rule("trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: ⮞a/b*, to: {b: 100}}]}}}"), "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].from", "whole parts", "region/*"),
    Case("overlapping origins", rule("trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: a/*, to: {b: 100}}, {from: ⮞a/b, to: {b: 100}}]}}}"), "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[1].from", "overlaps", "own"),
    Case("overlapping shares", rule("trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {a: 50, ⮞a/b: 50}}]}}}"), 'spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to["a/b"]', "overlaps", "once"),
    Case("place by label", rule("trafficPolicy: {outlierDetection: {}, loadBalancer: {zoneAwareLbSetting: {failoverPriority: [⮞topology.kubernetes.io/zone]}}}"), "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting.failoverPriority[0]", "counts already", "remove"),
    Case("priority", rule("trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [⮞'a b']}}}"), "spec.trafficPolicy.loadBalancer.localityLbSetting.failoverPriority[0]", "no label", "key=value"),
    Case("place twice", rule("trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}], failoverPriority: [⮞topology.kubernetes.io/zone]}}}"), "spec.trafficPolicy.loadBalancer.localityLbSetting.failoverPriority[0]", "already", "remove"),
    Case("empty pool", rule("trafficPolicy: {⮞connectionPool: {}}"), "spec.trafficPolicy.connectionPool", "must be given", "`tcp`"),
    Case("two upgrades", rule("trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE, ⮞useClientProtocol: true}}}"), "spec.trafficPolicy.connectionPool.http.useClientProtocol", "exclude", "keep"),
    Case("no split", rule("trafficPolicy: {outlierDetection: {⮞consecutiveLocalOriginFailures: 1}}"), "spec.trafficPolicy.outlierDetection.consecutiveLocalOriginFailures", "needs", "set it"),
    Case("mutual without certificate", rule("trafficPolicy: {⮞tls: {mode: MUTUAL, privateKey: a}}"), "spec.trafficPolicy.tls", "`clientCertificate` is missing", "credentialName"),
    Case("secret and file", rule("trafficPolicy: {tls: {mode: MUTUAL, credentialName: a, ⮞privateKey: a}}"), "spec.trafficPolicy.tls.privateKey", "exclude", "Secret"),
    Case("nothing is verified", rule("trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true, ⮞caCertificates: a}}"), "spec.trafficPolicy.tls.caCertificates", "no effect", "remove"),
    Case("two hash keys", rule("trafficPolicy: {loadBalancer: {consistentHash: {useSourceIp: true, ⮞httpHeaderName: a}}}"), "spec.trafficPolicy.loadBalancer.consistentHash.httpHeaderName", "exclude", "keep"),
    Case("two hash tables", rule("trafficPolicy: {loadBalancer: {consistentHash: {ringHash: {}, ⮞maglev: {}}}}"), "spec.trafficPolicy.loadBalancer.consistentHash.maglev", "exclude", "keep"),
    Case("two ring sizes", rule("trafficPolicy: {loadBalancer: {consistentHash: {⮞minimumRingSize: 1, ringHash: {}}}}"), "spec.trafficPolicy.loadBalancer.consistentHash.minimumRingSize", "exclude", "ringHash"),
    Case("no prime", rule("trafficPolicy: {loadBalancer: {consistentHash: {maglev: {tableSize: ⮞65536}}}}"), "spec.trafficPolicy.loadBalancer.consistentHash.maglev.tableSize", "no prime", "65537"),
    Case("cookie's attributes", rule("trafficPolicy: {loadBalancer: {consistentHash: {httpCookie: {name: a, attributes: [{name: b}, {name: ⮞b}]}}}}"), "spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.attributes[1].name", "twice", "own"),
    Case("shares", rule("trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: a, ⮞to: {b: 90}}]}}}"), "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute[0].to", "sum to 90", "100"),
    Case("region", rule("trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: ⮞a/b, to: c}]}}}"), "spec.trafficPolicy.loadBalancer.localityLbSetting.failover[0].from", "no region", "region"),
    Case("both ways", rule("trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: a, to: c}], ⮞distribute: [{from: a, to: {b: 100}}]}}}"), "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute", "exclude", "keep"),
    Case("all ways", rule("trafficPolicy: {outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [a], ⮞distribute: [{from: a, to: {b: 100}}]}}}"), "spec.trafficPolicy.loadBalancer.localityLbSetting.distribute", "exclude", "keep"),
    Case("nobody knows what failed", rule("trafficPolicy: {loadBalancer: {localityLbSetting: {⮞failover: [{from: a, to: c}]}}}"), "spec.trafficPolicy.loadBalancer.localityLbSetting.failover", "outlierDetection", "add", WARNING, "IST0133"),
    Case("two localities", rule("trafficPolicy: {loadBalancer: {localityLbSetting: {}, ⮞zoneAwareLbSetting: {}}}"), "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting", "exclude", "keep"),
    Case("two warmups", rule("trafficPolicy: {loadBalancer: {warmup: {duration: 1s}, ⮞warmupDurationSecs: 1s}}"), "spec.trafficPolicy.loadBalancer.warmupDurationSecs", "exclude", "keep"),
    Case("tunnel and proxy protocol", rule("trafficPolicy: {tunnel: {targetHost: a.b, targetPort: 80}, ⮞proxyProtocol: {}}"), "spec.trafficPolicy.proxyProtocol", "exclude", "keep"),
    Case("empty port", rule("trafficPolicy: {portLevelSettings: [⮞{port: {number: 80}}]}"), "spec.trafficPolicy.portLevelSettings[0]", "must be given", "`loadBalancer`"),
    Case("private", rule("workloadSelector: {matchLabels: {a: b}}\n⮞exportTo: [a]"), "spec.exportTo", "its own namespace", "[.]"),
    Case("selects all", rule("⮞workloadSelector: {}"), "spec.workloadSelector", "every workload", "labels", WARNING, "IST0133"),
    Case("exported twice", rule("exportTo: [a, ⮞a]"), "spec.exportTo[1]", "twice", "remove"),
]

SERVICE_ENTRY = [
    Case("any host", entry("", "hosts: [⮞'*']\nresolution: STATIC\n"), "spec.hosts[0]", "no service", "wildcard"),
    Case("address as host", entry("", "hosts: [⮞10.0.0.1]\nresolution: STATIC\n"), "spec.hosts[0]", "no host name", "addresses"),
    Case("partial wildcard", entry("", "hosts: [⮞'*a.com']\nresolution: STATIC\n"), "spec.hosts[0]", "whole parts", "*.a.com", WARNING, "IST0133"),
    Case("wildcard looked up", entry("", "hosts: [⮞'*.a.com']\nresolution: DNS\n"), "spec.hosts[0]", "looked up", "endpoints"),
    Case("dynamic", entry("", "hosts: [⮞a.com]\nresolution: DYNAMIC_DNS\n"), "spec.hosts[0]", "wildcards", "DNS"),
    Case("port twice", entry("ports: [{number: 80, name: a, protocol: HTTP}, {number: ⮞80, name: b, protocol: HTTP}]"), "spec.ports[1].number", "twice", "own"),
    Case("port's name twice", entry("ports: [{number: 80, name: a, protocol: HTTP}, {number: 81, name: ⮞a, protocol: HTTP}]"), "spec.ports[1].name", "twice", "own"),
    Case("both", entry("endpoints: [{address: 10.0.0.1}]\n⮞workloadSelector: {labels: {a: b}}"), "spec.workloadSelector", "exclude", "keep"),
    Case("no endpoints with NONE", entry("⮞endpoints: [{address: 10.0.0.1}]", "hosts: [a.com]\nresolution: NONE\n"), "spec.endpoints", "no effect", "STATIC"),
    Case("selector with NONE", entry("⮞workloadSelector: {labels: {a: b}}", "hosts: [a.com]\nresolution: NONE\n"), "spec.workloadSelector", "no effect", "STATIC", WARNING, "IST0133"),
    Case("round robin", entry("⮞endpoints: [{address: a.b}, {address: a.c}]", "hosts: [a.com]\nresolution: DNS_ROUND_ROBIN\n"), "spec.endpoints", "one endpoint", "DNS"),
    Case("name in STATIC", entry("endpoints: [{address: ⮞a.b}]"), "spec.endpoints[0].address", "no IP address", "DNS"),
    Case("socket in DNS", entry("ports: [{number: 80, name: a, protocol: HTTP}]\nendpoints: [{address: ⮞'unix:///a'}]", "hosts: [a.com]\nresolution: DNS\n"), "spec.endpoints[0].address", "no name", "STATIC"),
    Case("socket's ports", entry("endpoints: [{address: ⮞'unix:///a'}]"), "spec.endpoints[0].address", "one port", "exactly one"),
    Case("unknown port", entry("ports: [{number: 80, name: http, protocol: HTTP}]\nendpoints: [{address: 10.0.0.1, ports: {⮞htpp: 80}}]"), "spec.endpoints[0].ports.htpp", "no port named", "http"),
    Case("endpoint without address", entry("endpoints: [⮞{labels: {a: b}}]"), "spec.endpoints[0]", "must be given", "`address`"),
    Case("address", entry("addresses: [⮞10.0.0.300]"), "spec.addresses[0]", "no IP", "10.0.0.0/8"),
    Case("block with DNS", entry("addresses: [⮞10.0.0.0/8]", "hosts: [a.com]\nresolution: DNS\n"), "spec.addresses[0]", "block", "single"),
    Case("hosts of TCP", entry("ports: [⮞{number: 80, name: a, protocol: TCP}]\naddresses: [10.0.0.1]", "hosts: [a.com, b.com]\nresolution: STATIC\n"), "spec.ports[0]", "told apart", "each host"),
    Case("TCP everywhere", entry("ports: [⮞{number: 80, name: a, protocol: TCP}]"), "spec.ports[0]", "takes all connections", "addresses", WARNING, "IST0134"),
    Case("redirected", entry("", "hosts: [a.com]\n⮞resolution: NONE\n"), "spec.resolution", "others answer 503", "DNS", WARNING, "LEG0303"),
    Case("left out", entry("", "hosts: [a.com]\n").replace("spec:", "⮞spec:"), "spec", "which is the default", "STATIC", WARNING, "LEG0303"),
    Case("selects all", entry("⮞workloadSelector: {labels: {}}"), "spec.workloadSelector", "every workload", "labels", WARNING, "IST0133"),
    Case("alone", entry("exportTo: [⮞'~', a]"), "spec.exportTo[0]", "stands alone", "remove"),
]

WORKLOADS = [
    Case("nowhere", about("WorkloadEntry", "labels: {a: b}").replace("spec:", "⮞spec:"), "spec", "must be given", "`address`"),
    Case("with port", about("WorkloadEntry", "address: ⮞'10.0.0.1:80'"), "spec.address", "no host name", "field of their own"),
    Case("relative socket", about("WorkloadEntry", "address: ⮞unix://a"), "spec.address", "absolute", "unix:///"),
    Case("directory", about("WorkloadEntry", "address: ⮞unix:///a/"), "spec.address", "directory", "socket"),
    Case("socket with ports", about("WorkloadEntry", "address: unix:///a\n⮞ports: {http: 80}"), "spec.ports", "no ports", "remove"),
    Case("port's name", about("WorkloadEntry", "address: 10.0.0.1\nports: {⮞a_b: 80}"), "spec.ports.a_b", "no name of a port", "letters"),
    Case("network", about("WorkloadEntry", "address: 10.0.0.1\n⮞network: a"), "spec.network", "not supported yet", "remove", WARNING, "LEG0301"),
    Case("template", about("WorkloadGroup", "template: {}").replace("spec:", "⮞spec:"), "spec", "by itself", "WorkloadEntry", INFO, "LEG0303"),
    Case("probe", about("WorkloadGroup", "template: {}\n⮞probe: {}"), "spec.probe", "must be given", "`httpGet`"),
    Case("socket in a group", about("WorkloadGroup", "template: {address: 'unix:///a', ⮞ports: {a: 1}}"), "spec.template.ports", "no ports", "remove"),
    Case("empty sidecar", about("Sidecar", "workloadSelector: {labels: {a: b}}").replace("spec:", "⮞spec:"), "spec", "must be given", "`egress`"),
    Case("sidecar's host", about("Sidecar", "egress: [{hosts: [⮞reviews]}]"), "spec.egress[0].hosts[0]", "no namespace", "*/reviews"),
    Case("a port twice", about("Sidecar", "egress: [{port: {number: 80, protocol: HTTP}, hosts: ['*/*']}, {⮞port: {number: 80, protocol: TCP}, hosts: ['./*']}]"), "spec.egress[1].port", "already", "join"),
    Case("through a closed door", about("Sidecar", "outboundTrafficPolicy: {mode: REGISTRY_ONLY, ⮞egressProxy: {host: a, port: {number: 80}}}"), "spec.outboundTrafficPolicy.egressProxy", "nothing goes out", "ALLOW_ANY"),
    Case("catch-all first", about("Sidecar", "egress: [⮞{hosts: ['*/*']}, {port: {number: 80, protocol: HTTP}, hosts: ['*/*']}]"), "spec.egress[0]", "last", "end"),
    Case("called on no port", about("Sidecar", "ingress: [{port: {number: ⮞0, protocol: HTTP}}]"), "spec.ingress[0].port.number", "no port to be called on", "1 to 65535"),
    Case("called by UDP", about("Sidecar", "ingress: [{port: {number: 53, protocol: ⮞UDP}}]"), "spec.ingress[0].port.protocol", "not proxied", "remove", WARNING, "LEG0301"),
    Case("clear text with tls", about("Sidecar", "ingress: [{port: {number: 80, protocol: HTTP}, ⮞tls: {mode: SIMPLE, serverCertificate: a, privateKey: b}}]"), "spec.ingress[0].tls", "no place on protocol HTTP", "HTTPS"),
    Case("mode of gateways", about("Sidecar", "ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: ⮞ISTIO_MUTUAL}}]"), "spec.ingress[0].tls.mode", "for gateways", "SIMPLE"),
    Case("secret of gateways", about("Sidecar", "ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE, ⮞credentialName: a}}]"), "spec.ingress[0].tls.credentialName", "for gateways", "remove"),
    Case("ingress without certificate", about("Sidecar", "ingress: [{port: {number: 80, protocol: HTTPS}, ⮞tls: {mode: SIMPLE, privateKey: b}}]"), "spec.ingress[0].tls", "`serverCertificate` is missing", "serverCertificate"),
    Case("ingress, versions", about("Sidecar", "ingress: [{port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE, serverCertificate: a, privateKey: b, minProtocolVersion: TLSV1_3, maxProtocolVersion: ⮞TLSV1_2}}]"), "spec.ingress[0].tls.maxProtocolVersion", "no version", "around"),
    Case("inbound bounds", about("Sidecar", "⮞inboundConnectionPool: {}"), "spec.inboundConnectionPool", "must be given", "`tcp`"),
    Case("inbound upgrade", about("Sidecar", "inboundConnectionPool: {http: {⮞h2UpgradePolicy: UPGRADE}}"), "spec.inboundConnectionPool.http.h2UpgradePolicy", "no effect", "HTTP2", WARNING, "IST0133"),
    Case("called twice on a port", about("Sidecar", "ingress: [{port: {number: 80, protocol: HTTP}}, {port: {number: ⮞80, protocol: TCP}}]"), "spec.ingress[1].port.number", "twice, first in ingress[0]", "its own"),
    Case("bind of ingress", about("Sidecar", "ingress: [{port: {number: 80, protocol: HTTP}, bind: ⮞'unix:///a'}]"), "spec.ingress[0].bind", "no IP address", "this machine"),
    Case("far endpoint", about("Sidecar", "ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: ⮞'10.0.0.1:80'}]"), "spec.ingress[0].defaultEndpoint", "not on this machine", "127.0.0.1:PORT"),
    Case("endpoint without port", about("Sidecar", "ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: ⮞'127.0.0.1:http'}]"), "spec.ingress[0].defaultEndpoint", "no port", "65535"),
    Case("endpoint's socket", about("Sidecar", "ingress: [{port: {number: 80, protocol: HTTP}, defaultEndpoint: ⮞'unix://a'}]"), "spec.ingress[0].defaultEndpoint", "no Unix socket", "absolute"),
    Case("environment", about("ProxyConfig", "environmentVariables: {A: ⮞1}", "networking.istio.io/v1beta1"), "spec.environmentVariables.A", "a text", '"1"'),
    Case("selector without labels", about("ProxyConfig", "⮞selector: {}", "networking.istio.io/v1beta1"), "spec.selector", "every workload", "labels", WARNING, "IST0133"),
]

KUBERNETES = [
    Case("certificate alone", f"{SECRET}data: {{tls.crt: ⮞YWJj}}\n", 'data["tls.crt"]', "without `tls.key`", "add", ERROR, "IST0161"),
    Case("no authorities", f"{SECRET}data: {{ca.crt: ⮞YWJj}}\n", 'data["ca.crt"]', "no certificate in PEM", "authorities", ERROR, "IST0161"),
    Case("distribution", service("ports: [{port: 80}]\ntrafficDistribution: ⮞PreferNear"), "spec.trafficDistribution", "PreferNear", "PreferClose"),
    Case("distribution by annotation", service("ports: [{port: 80}]").replace("name: x", "name: x\n  annotations: {networking.istio.io/traffic-distribution: ⮞near}"), 'metadata.annotations["networking.istio.io/traffic-distribution"]', "no effect", "PreferSameZone", WARNING, "IST0133"),
    Case("target port", service("ports: [{port: 80, targetPort: ⮞'8080'}]"), "spec.ports[0].targetPort", "name of a port", "without quotes"),
    Case("target port's name", service("ports: [{port: 80, targetPort: ⮞a_b}]"), "spec.ports[0].targetPort", "no name of a port", "letters"),
    Case("target port's kind", service("ports: [{port: 80, targetPort: ⮞true}]"), "spec.ports[0].targetPort", "number or name", "number"),
    Case("target port's range", service("ports: [{port: 80, targetPort: ⮞70000}]"), "spec.ports[0].targetPort", "no port", "65535"),
    Case("no ports", service("selector: {a: b}").replace("spec:", "⮞spec:"), "spec", "`ports` is missing", "add"),
    Case("unknown", service("⮞port: 80\nports: [{port: 80}]"), "spec.port", "unknown", "`ports`"),
    Case("names", service("ports: [{port: 80, name: a}, ⮞{port: 81}]"), "spec.ports[1]", "needs a name", "`name`"),
    Case("name twice", service("ports: [{port: 80, name: a}, {port: 81, name: ⮞a}]"), "spec.ports[1].name", "twice", "own"),
    Case("port twice", service("ports: [{port: 80, name: a}, {port: ⮞80, name: b}]"), "spec.ports[1].port", "twice", "remove"),
    Case("external name", service("type: ExternalName").replace("spec:", "⮞spec:"), "spec", "externalName", "add"),
    Case("selector", service("ports: [{port: 80}]\nselector: {version: ⮞1.0}"), "spec.selector.version", "a text", '"1.0"'),
    Case("slice", "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\naddressType: IPv4\nendpoints: [{addresses: [⮞'::1']}]\n", "endpoints[0].addresses[0]", "no IPv4", "addressType"),
    Case("address in a handshake", about("VirtualService", "hosts: ['*']\ngateways: [g]\ntls: [{match: [{sniHosts: [⮞'10.0.0.1']}], route: [{destination: {host: a}}]}]"), "spec.tls[0].match[0].sniHosts[0]", "never for addresses", "destinationSubnets", WARNING, "IST0133"),
    Case("suite twice", gateway("port: {number: 443, name: a, protocol: HTTPS}\nhosts: [a.b]\ntls: {mode: SIMPLE, credentialName: a, cipherSuites: [AES128-SHA, ⮞AES128-SHA]}"), "spec.servers[0].tls.cipherSuites[1]", "here twice", "remove", WARNING, "IST0133"),
    Case("gateway for UDP", gateway(f"port: {{number: 53, name: a, protocol: ⮞UDP}}\n{ANY}"), "spec.servers[0].port.protocol", "do not speak UDP", "remove", WARNING, "LEG0301"),
    Case("no ports", about("ServiceEntry", "⮞hosts: [a.b]\nresolution: DNS").replace("⮞", "").replace("spec:", "⮞spec:"), "spec", "nothing of it can be called", "ports", WARNING, "IST0133"),
    Case("host twice", about("ServiceEntry", "hosts: [a.b, ⮞A.b]\nresolution: DNS\nports: [{number: 80, name: a, protocol: HTTP}]"), "spec.hosts[1]", "here twice", "remove", WARNING, "IST0133"),
    Case("UDP", about("ServiceEntry", "hosts: [a.b]\nresolution: DNS\nports:\n- {number: 80, name: b, protocol: HTTP}\n- ⮞number: 53\n  name: a\n  protocol: UDP"), "spec.ports[1]", "not proxied", "remove", WARNING, "LEG0301"),
    Case("by host, and none named", about("ServiceEntry", "hosts: ['*.a.b']\nresolution: DYNAMIC_DNS\nports:\n- ⮞number: 80\n  name: a\n  protocol: MONGO"), "spec.ports[0]", "names none", "HTTP"),
    Case("by host, with endpoints", about("ServiceEntry", "hosts: ['*.a.b']\nresolution: DYNAMIC_DNS\nports: [{number: 80, name: a, protocol: HTTP}]\n⮞endpoints: [{address: 10.0.0.1}]"), "spec.endpoints", "no effect", "remove", WARNING, "IST0133"),
    Case("port twice", rule("trafficPolicy: {portLevelSettings: [{port: {number: 80}, tls: {mode: SIMPLE}}, {port: ⮞{number: 80}, tls: {mode: SIMPLE}}]}"), "spec.trafficPolicy.portLevelSettings[1].port", "here twice", "join", WARNING, "IST0133"),
    Case("encrypted by nothing", rule("trafficPolicy: {tls: {⮞sni: a.b}}"), "spec.trafficPolicy.tls.sni", "nothing is encrypted", "SIMPLE", WARNING, "IST0133"),
    Case("certificate for nobody", rule("trafficPolicy: {tls: {mode: SIMPLE, ⮞privateKey: /a}}"), "spec.trafficPolicy.tls.privateKey", "no effect in mode SIMPLE", "MUTUAL", WARNING, "IST0133"),
    Case("the mesh's own certificate", rule("trafficPolicy: {tls: {mode: ISTIO_MUTUAL, ⮞caCertificates: /a}}"), "spec.trafficPolicy.tls.caCertificates", "no effect in mode ISTIO_MUTUAL", "remove", WARNING, "IST0133"),
    Case("alike by nothing", rule("trafficPolicy: {loadBalancer: {⮞consistentHash: {maglev: {}}}}"), "spec.trafficPolicy.loadBalancer.consistentHash", "by chance", "httpCookie", WARNING, "IST0133"),
    Case("warm by chance", rule("trafficPolicy: {loadBalancer: {simple: RANDOM, ⮞warmup: {duration: 3s}}}"), "spec.trafficPolicy.loadBalancer.warmup", "no effect", "LEAST_REQUEST", WARNING, "IST0133"),
    Case("odd locality", about("WorkloadEntry", "address: 10.0.0.1\nlocality: ⮞a//b"), "spec.locality", "up to three", "region/zone", WARNING, "IST0133"),
    Case("odd locality of a template", about("WorkloadGroup", "template: {locality: ⮞a/b/c/d}"), "spec.template.locality", "up to three", "region/zone", WARNING, "IST0133"),
    Case("slice of no address", "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\naddressType: IPv4\nendpoints: [{addresses: [⮞'10.0.0.256']}]\n", "endpoints[0].addresses[0]", "no IPv4", "addressType"),
    Case("pod's address", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nstatus: {podIP: ⮞'10.0.0.9:80'}\n", "status.podIP", "no IP address", "10.0.0.7"),
    Case("virtual address", service("clusterIP: ⮞none\nports: [{port: 80}]"), "spec.clusterIP", "no IP address", "None"),
    Case("slice's type", "⮞apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\n", "addressType", "missing", "what the addresses are"),
    Case("endpoints", "apiVersion: v1\nkind: Endpoints\nmetadata: {name: x}\nsubsets: [{addresses: [{ip: ⮞localhost}]}]\n", "subsets[0].addresses[0].ip", "no IP", "10.0.0.7"),
    Case("workload", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: {replicas: ⮞'2', paused: true}\n", "spec.replicas", "a whole number", "without quotes"),
    Case("config", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: ⮞1}\n", "data.a", "a text", '"1"'),
]

def meshwide(spec: str) -> str:
    return about("MeshConfig", spec, "mesh.istio.io/v1alpha1")


MESH = [
    Case("field", meshwide("⮞conectTimeout: 3s"), "spec.conectTimeout", "unknown field", "connectTimeout"),
    Case("below", meshwide("defaultConfig: {gatewayTopology: {⮞numTrusted: 1}}"), "spec.defaultConfig.gatewayTopology.numTrusted", "unknown field", "numTrustedProxies"),
    Case("trust domain", meshwide("trustDomain: ⮞a_b"), "spec.trustDomain", "no host name", "cluster.local"),
    Case("zones", meshwide("⮞zoneAwareLbSetting: {minClusterSize: 3}"), "spec.zoneAwareLbSetting", "the region is preferred", "remove", WARNING, "LEG0301"),
    Case("statistics", meshwide("outboundClusterStatName: ⮞'%SRVICE%'"), "spec.outboundClusterStatName", "stands for nothing", "SERVICE_FQDN"),
    Case("half a word", meshwide("outboundClusterStatName: ⮞'%SERVICE'"), "spec.outboundClusterStatName", "a lone %", "%SERVICE%"),
    Case("log command", meshwide("accessLogFile: /dev/stdout\naccessLogFormat: ⮞'%PTH%'"), "spec.accessLogFormat", "no command", "%PATH%"),
    Case("log as JSON", meshwide("accessLogFile: /dev/stdout\naccessLogEncoding: JSON\naccessLogFormat: ⮞'%PATH%'"), "spec.accessLogFormat", "JSON object", "{"),
    Case("log without a header", meshwide("accessLogFile: /dev/stdout\naccessLogFormat: ⮞'%REQ()%'"), "spec.accessLogFormat", "nothing in the brackets", "%REQ(…)%"),
    Case("log of no header", meshwide("accessLogFile: /dev/stdout\naccessLogFormat: ⮞'%RESP(a b)%'"), "spec.accessLogFormat", "no header name", "letters"),
    Case("log of three headers", meshwide("accessLogFile: /dev/stdout\naccessLogFormat: ⮞'%REQ(a?b?c)%'"), "spec.accessLogFormat", "alternative", "?"),
    Case("log of no state", meshwide("accessLogFile: /dev/stdout\naccessLogFormat: ⮞'%FILTER_STATE(a:FIELD)%'"), "spec.accessLogFormat", "no filter state", ":FIELD:name"),
    Case("log of no duration", meshwide("accessLogFile: /dev/stdout\naccessLogFormat: ⮞'%COMMON_DURATION(a:b:s)%'"), "spec.accessLogFormat", "no time", ":ms"),
    Case("log of no metadata", meshwide("accessLogFile: /dev/stdout\naccessLogFormat: ⮞'%METADATA(a)%'"), "spec.accessLogFormat", "such metadata", "ROUTE"),
    Case("log of an expression", meshwide("accessLogFile: /dev/stdout\naccessLogFormat: ⮞'%CEL(a +)%'"), "spec.accessLogFormat", "cannot be checked", "hook"),
    Case("log of what headers have", meshwide("accessLogFile: /dev/stdout\naccessLogFormat: ⮞'%PER_REQUEST_STATE(a)%'"), "spec.accessLogFormat", "in logs", "leave"),
    Case("log of what is not built in", meshwide("accessLogFile: /dev/stdout\naccessLogFormat: ⮞'%REQ_WITHOUT_QUERY(a)%'"), "spec.accessLogFormat", "no command", ""),
    Case("log cut too long", meshwide("accessLogFile: /dev/stdout\naccessLogFormat: ⮞'%REQ(a):99999999999999999999%'"), "spec.accessLogFormat", "a lone %", "%%"),
    Case("looked up too often", meshwide("dnsRefreshRate: ⮞1ms"), "spec.dnsRefreshRate", "that often", "2ms"),
    Case("log nowhere", meshwide("⮞accessLogFormat: '%PATH%'"), "spec.accessLogFormat", "nothing is logged", "accessLogFile", WARNING, "IST0133"),
    Case("unknown suite", meshwide("tlsDefaults: {cipherSuites: [⮞NONE-SUCH]}"), "spec.tlsDefaults.cipherSuites[0]", "no suite", "known"),
    Case("curves", meshwide("meshMTLS: {⮞ecdhCurves: [P-256]}"), "spec.meshMTLS.ecdhCurves", "cannot be chosen", "remove"),
    Case("exported", meshwide("defaultServiceExportTo: [⮞'a/b']"), "spec.defaultServiceExportTo[0]", "no namespace", "for all"),
    Case("both localities", meshwide("localityLbSetting: {enabled: true}\n⮞zoneAwareLbSetting: {enabled: true}"), "spec.zoneAwareLbSetting", "exclude each other", "keep"),
    Case("inbound retries of none", meshwide("defaultInboundHttpRetryPolicy: {⮞retryOn: 5xx}"), "spec.defaultInboundHttpRetryPolicy.retryOn", "without `attempts`", "attempts"),
    Case("inbound retries elsewhere", meshwide("defaultInboundHttpRetryPolicy: {attempts: 1, ⮞perTryTimeout: 1s}"), "spec.defaultInboundHttpRetryPolicy.perTryTimeout", "no effect", "remove", WARNING, "IST0133"),
    Case("empty baseline", meshwide("⮞defaultTrafficPolicy: {}"), "spec.defaultTrafficPolicy", "must be given", "connectionPool"),
    Case("threads", meshwide("defaultConfig: {⮞concurrency: 2}"), "spec.defaultConfig.concurrency", "when a proxy starts", "do not count on it", WARNING, "LEG0301"),
    Case("agent", meshwide("defaultConfig: {⮞holdApplicationUntilProxyStarts: true}"), "spec.defaultConfig.holdApplicationUntilProxyStarts", "not supported yet", "do not count on it", WARNING, "LEG0301"),
    Case("in Kubernetes", meshwide("⮞ingressClass: x"), "spec.ingressClass", "Kubernetes only", "do not count on it", WARNING, "LEG0301"),
]

IDENTITY = [
    Case("no kind", "⮞apiVersion: v1\nmetadata: {name: x}\n", "kind", "missing", "write", ERROR, "LEG0201"),
    Case("kind's type", "apiVersion: v1\nkind: ⮞[a]\nmetadata: {name: x}\n", "kind", "a text", "write", ERROR, "LEG0201"),
    Case("no version", "⮞kind: Gateway\nmetadata: {name: x}\nspec: {}\n", "apiVersion", "missing", "networking.istio.io/v1", ERROR, "LEG0201"),
    Case("no metadata", "⮞apiVersion: v1\nkind: ConfigMap\n", "metadata", "missing", "name", ERROR, "LEG0201"),
    Case("no name", "apiVersion: v1\nkind: ConfigMap\n⮞metadata: {namespace: a}\n", "metadata.name", "`name` is missing", "name"),
    Case("metadata's type", "apiVersion: v1\nkind: ConfigMap\nmetadata: ⮞a\n", "metadata", "mapping", "field: value"),
    Case("unknown in metadata", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, ⮞label: {}}\n", "metadata.label", "unknown", "`labels`"),
    Case("label", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {version: ⮞1}}\n", "metadata.labels.version", "a text", '"1"'),
    Case("odd label", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {⮞version: 'v 1'}}\n", "metadata.labels.version", "refuse", "letters", WARNING, "LEG0205"),
    Case("time", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, creationTimestamp: ⮞yesterday}\n", "metadata.creationTimestamp", "no point in time", "2026"),
    Case("path", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ⮞../../etc/passwd}\n", "metadata.name", "no name", "letters", ERROR, "LEG0204"),
    Case("underscore", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ⮞a_b}\n", "metadata.name", "no name", "a-b", ERROR, "LEG0204"),
    Case("upper case", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ⮞Reviews}\n", "metadata.name", "refuse", "reviews", WARNING, "LEG0205"),
    Case("namespace", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: ⮞../b}\n", "metadata.namespace", "no namespace", "letters", ERROR, "LEG0204"),
    Case("namespace in capitals", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: ⮞Prod}\n", "metadata.namespace", "refuse", "prod", WARNING, "LEG0205"),
    Case("service's name", "apiVersion: v1\nkind: Service\nmetadata: {name: ⮞a.b}\nspec: {ports: [{port: 80}]}\n", "metadata.name", "no dots", "a-b", ERROR, "LEG0204"),
    Case("kind", "apiVersion: networking.istio.io/v1\nkind: ⮞VirtualSrvice\nmetadata: {name: a}\n", "kind", "no kind", "VirtualService?", ERROR, "LEG0202"),
    Case("no such kind", "apiVersion: networking.istio.io/v1\nkind: ⮞Zebra\nmetadata: {name: a}\n", "kind", "no kind", "known: VirtualService", ERROR, "LEG0202"),
    Case("kind of Kubernetes", "apiVersion: v1\nkind: ⮞Servce\nmetadata: {name: a}\n", "kind", "no kind", "Service?", ERROR, "LEG0202"),
    Case("kind of gateway api", "apiVersion: gateway.networking.k8s.io/v1\nkind: ⮞HttpRoute\nmetadata: {name: a}\n", "kind", "no kind", "HTTPRoute?", ERROR, "LEG0202"),
    Case("core group", vs(ROUTE).replace("networking.istio.io/v1", "⮞v1"), "apiVersion", "belongs to networking.istio.io", "networking.istio.io/v1", ERROR, "LEG0203"),
    Case("misspelt group", vs(ROUTE).replace("networking.istio.io/v1", "⮞networking.isto.io/v1"), "apiVersion", "belongs to networking.istio.io", "networking.istio.io/v1", ERROR, "LEG0203"),
    Case("Kubernetes' group", vs(ROUTE).replace("networking.istio.io/v1", "⮞networking.k8s.io/v1"), "apiVersion", "belongs to networking.istio.io", "networking.istio.io/v1", ERROR, "LEG0203"),
    Case("no kind of ours", "apiVersion: apiextensions.k8s.io/v1\nkind: ⮞CustomResourceDefinition\nmetadata: {name: a}\n", "kind", "passed over", "nothing", INFO, "LEG0206"),
    Case("a group of the past", "apiVersion: config.istio.io/v1alpha2\nkind: ⮞QuotaSpec\nmetadata: {name: a}\n", "kind", "no kind", "known: VirtualService", ERROR, "LEG0202"),
    Case("another of Istio's groups", vs(ROUTE).replace("networking.istio.io/v1", "⮞security.istio.io/v1"), "apiVersion", "belongs to networking.istio.io", "networking.istio.io/v1", ERROR, "LEG0203"),
    Case("version", vs(ROUTE).replace("networking.istio.io/v1", "⮞networking.istio.io/v2"), "apiVersion", "no version v2", "networking.istio.io/v1", ERROR, "LEG0203"),
    Case("service account", "apiVersion: v1\nkind: ⮞ServiceAccount\nmetadata: {name: a}\n", "kind", "passed over", "nothing", INFO, "LEG0206"),
    Case("somebody else's", "apiVersion: serving.knative.dev/v1\nkind: ⮞Service\nmetadata: {name: a}\n", "kind", "passed over", "nothing", INFO, "LEG0206"),
    Case("later", about("⮞EnvoyFilter", "configPatches: []", "networking.istio.io/v1alpha3"), "kind", "not supported yet", "remove", WARNING, "LEG0302"),
    Case("later, with a model", about("⮞ProxyConfig", "concurrency: 2", "networking.istio.io/v1beta1"), "kind", "not supported yet", "remove", WARNING, "LEG0302"),
    Case("protects", about("⮞AuthorizationPolicy", "{}", "security.istio.io/v1"), "kind", "would be open", "--ignore-security-kinds", ERROR, "LEG0401"),
]

CASES = {
        "schema": SCHEMA, "duration": DURATIONS, "vs": VIRTUAL_SERVICE, "gateway": GATEWAY, "dr": DESTINATION_RULE,
        "se": SERVICE_ENTRY, "workload": WORKLOADS, "k8s": KUBERNETES, "mesh": MESH, "identity": IDENTITY,
    }
"""All of them, by what they are about."""

IDENTITIES = [
    ("{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a}, spec: 3}", Key("VirtualService", "default", "a")),
    ("{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: a, namespace: b}}", Key("VirtualService", "b", "a")),
    ("{apiVersion: networking.istio.io/v1, kind: VirtualSrvice, metadata: {name: a}}", Key("VirtualService", "default", "a")),
    ("{apiVersion: networking.istio.io/v1, kind: Zebra, metadata: {name: a}}", None),
    ("{apiVersion: networking.istio/v9, kind: VirtualService, metadata: {name: a}}", Key("VirtualService", "default", "a")),
    ("{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: a}}", Key("Gateway", "default", "a")),
    ("{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: a}}", Key("Gateway.gateway.networking.k8s.io", "default", "a")),
    ("{apiVersion: v1, kind: Node, metadata: {name: a, namespace: b}}", Key("Node", "", "a")),
    ("{apiVersion: v1, kind: Service, metadata: {name: ..}}", None),
    ("{apiVersion: v1, kind: Service, metadata: {name: a/b}}", None),
    ("{apiVersion: v1, kind: Service, metadata: {name: a, namespace: ../c}}", None),
    ("{apiVersion: ../v1, kind: Foo, metadata: {name: a}}", None),
    ("{apiVersion: v1, kind: ../Foo, metadata: {name: a}}", None),
    ("{apiVersion: v1, kind: Service}", None),
    ("{apiVersion: v1, kind: Service, metadata: {name: 3}}", None),
    ("{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: 'system:node'}}", Key("ClusterRole.rbac.authorization.k8s.io", "default", "system:node")),
    ("{apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: a}}", Key("Service.serving.knative.dev", "default", "a")),
]
"""Documents, valid or not, and what they are known by."""
