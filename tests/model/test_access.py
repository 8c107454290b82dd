"""Who may be whom."""

from __future__ import annotations

import pytest
from legation.ingest.access import policy
from legation.model.access import AccessPolicy, Identity, is_administrator, refusal
from legation.model.proxy import Proxy, Role

DOMAIN = "cluster.local"
WEB = Identity(("spiffe://cluster.local/ns/shop/sa/web",))


def sidecar(namespace: str = "shop", name: str = "web-1") -> Proxy:
    return Proxy("id", Role.SIDECAR, namespace, name)


def gateway(namespace: str = "shop", name: str = "edge-1") -> Proxy:
    return Proxy("id", Role.GATEWAY, namespace, name)


def written(text: str) -> AccessPolicy:
    found, problems = policy("policy.yaml", text)
    assert found is not None, problems
    return found


def may(text: str, identity: Identity, proxy: Proxy) -> bool:
    return not refusal(written(text), DOMAIN, identity, proxy)


@pytest.mark.parametrize(
    ("name", "namespaces"),
    [
        ("spiffe://cluster.local/ns/shop/sa/web", ("shop",)),
        ("spiffe://cluster.local/ns/shop", ()),
        ("spiffe://cluster.local/ns/shop/sa/web/more", ()),
        ("spiffe://cluster.local/ns/shop.x/sa/web", ()),
        ("web.shop", ("shop",)),
        ("web.shop.svc", ("shop",)),
        ("web.shop.svc.cluster.local", ("shop",)),
        ("www.shop.example", ()),
        ("localhost", ()),
        ("jwt:web.shop", ()),
    ],
)
def test_the_namespace_of_an_identity(name: str, namespaces: tuple[str, ...]) -> None:
    assert Identity((name,)).namespaces == namespaces


def test_without_an_entry_an_identity_is_a_sidecar_in_its_own_namespace() -> None:
    assert may("# nothing", WEB, sidecar())
    assert not may("# nothing", WEB, sidecar("bank"))
    assert not may("# nothing", WEB, gateway())
    assert not may("# nothing", Identity(("jwt:robot",)), sidecar())


def test_an_entry_says_all_that_an_identity_may_be() -> None:
    text = "proxies: [{identity: 'spiffe://cluster.local/ns/*/sa/web', roles: [gateway], names: [edge-*]}]"
    assert may(text, WEB, gateway())
    assert not may(text, WEB, gateway(name="other"))
    assert not may(text, WEB, gateway("bank"))
    assert not may(text, WEB, sidecar())
    assert may(text, Identity(("spiffe://cluster.local/ns/shop/sa/other",)), sidecar())


def test_entries_add_up() -> None:
    text = """
    proxies:
    - {identity: web.shop, roles: [sidecar, gateway], namespaces: [bank]}
    - {identity: web.shop}
    - {identity: jwt:robot, namespaces: ["*"]}
    """
    web = Identity(("web.shop.svc", "web.shop"))
    for proxy in (gateway("bank"), sidecar("bank"), sidecar("shop")):
        assert may(text, web, proxy)
    assert not may(text, web, gateway("shop"))
    assert may(text, Identity(("jwt:robot",)), sidecar("anywhere"))


def test_a_star_does_not_cross_a_slash() -> None:
    text = "proxies: [{identity: 'spiffe://cluster.local/ns/*', roles: [gateway], namespaces: [bank]}]"
    assert not may(text, WEB, gateway("bank"))
    assert may(text.replace("'spiffe://cluster.local/ns/*'", "'*'"), WEB, gateway("bank"))


def test_a_foreign_trust_domain_is_nobody() -> None:
    other = Identity(("spiffe://other.example/ns/shop/sa/web",))
    assert not may("# nothing", other, sidecar())
    assert not may("proxies: [{identity: '*'}]", other, sidecar())
    assert may("trustDomains: [other.example]", other, sidecar())
    assert not may("trustDomains: [other.example]", WEB, sidecar())


def test_a_refusal_says_what_to_write_and_that_is_enough() -> None:
    words = refusal(AccessPolicy(), DOMAIN, WEB, gateway("bank"))
    assert "it may be a sidecar in namespace shop" in words
    entry = words.partition("policy file: ")[2]
    assert may(f"proxies: [{entry}]", WEB, gateway("bank"))


def test_administrators_are_listed() -> None:
    listed = written("administrators: ['spiffe://*/ns/shop/sa/web']")
    assert is_administrator(listed, DOMAIN, WEB)
    assert not is_administrator(AccessPolicy(), DOMAIN, WEB)
    assert not is_administrator(written("proxies: [{identity: '*', namespaces: ['*']}]"), DOMAIN, WEB)
    assert not is_administrator(listed, "other.example", WEB)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", 0, "empty"),
        ("proxies:\n- identiy: x\n", 2, "did you mean `identity`"),
        ("proxies:\n- identity: x\n  roles: [router]\n", 3, "sidecar"),
        ("proxies:\n- identity: x\n  roles: []\n", 3, "empty"),
        ("proxies:\n- roles: [gateway]\n", 2, "`identity` is missing"),
        ("proxies:\n- identity: spiffe://A/b\n", 2, "no SPIFFE ID"),
        ("proxies:\n- identity: x\n  namespaces: [a.b]\n", 3, "no namespace"),
        ("administrators:\n- '*'\n", 2, "whoever"),
        ("administrator: []\n", 1, "did you mean `administrators`"),
        ("trustDomains: [a b]\n", 1, "DNS name"),
        ("a: 1\n---\nb: 2\n", 3, "one document"),
        ("proxies: [\n", 2, ""),
        ("- a\n", 1, "mapping"),
    ],
)
def test_a_wrong_policy_is_told_with_its_line_and_not_taken(text: str, line: int, said: str) -> None:
    found, problems = policy("policy.yaml", text)
    assert found is None
    assert (problems[0].file, problems[0].line) == ("policy.yaml", line), problems
    assert any(said in str(problem) for problem in problems), problems
