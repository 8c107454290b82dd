"""Isolation: which version of each document is in service, whatever happens to the files."""

from __future__ import annotations

import pytest
from legation.ingest import admission, documents
from legation.ingest.admission import Admission, Decision, Version
from legation.ingest.decode import decode
from legation.model.world import World
from legation.names import Key

ROOT = "mesh"


def service(name: str, port: int = 80) -> str:
    return f"""\
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  ports: [{{name: http, port: {port}}}]
"""


def rule(name: str, host: str, subset: str = "") -> str:
    destination = f"host: {host}" + (f", subset: {subset}" if subset else "")
    return f"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: [{name}]
  http:
    - route: [{{destination: {{{destination}}}}}]
"""


def subsets(host: str, *names: str) -> str:
    listed = "".join(f"\n    - {{name: {name}, labels: {{version: {name}}}}}" for name in names)
    return f"""\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {host}}}
spec:
  host: {host}
  subsets:{listed}
"""


def many(*texts: str) -> str:
    return "---\n".join(texts)


class Files:
    """A directory, and the admission that is told of every change of it."""

    def __init__(
        self, accepted: list[Version] | None = None, *, allow_empty: bool = False, fails_open: bool = False
    ) -> None:
        self.now = 100.0
        self.admission = Admission(World(), (ROOT,), accepted or [], allow_empty=allow_empty, fails_open=fails_open)
        self.kept: dict[Key, Version] = {}
        self.last: Decision | None = None

    def change(self, **texts: str | None) -> Decision:
        """Files by name without suffix; None is a file that is gone."""
        paths = {f"{ROOT}/{name}.yaml": text for name, text in texts.items()}
        found = [admission.understand(path, text) for path, text in paths.items() if text is not None]
        return self._note(self.admission.step(found, [path for path, text in paths.items() if text is None], self.now))

    def wait(self, seconds: float) -> Decision:
        self.now += seconds
        return self._note(self.admission.step((), (), self.now))

    def _note(self, decision: Decision) -> Decision:
        self.kept.update({version.object.key: version for version in decision.put if version.object})
        for key in decision.removed:
            self.kept.pop(key, None)
        self.last = decision
        return decision

    def serving(self) -> set[str]:
        """Kind and name of what is in service."""
        assert set(self.admission.world.objects) == set(self.admission.accepted)
        return {f"{key.kind} {key.name}" for key in self.admission.world.objects}

    def port(self, name: str) -> int:
        return int(self.admission.world.objects[Key("Service", "default", name)].spec.spec.ports[0].port)

    def codes(self) -> list[str]:
        return sorted(problem.code for problem in self.admission.held())


def test_what_is_good_is_served_at_once() -> None:
    files = Files()
    decision = files.change(a=service("a"), b=many(service("b"), service("c")))
    assert files.serving() == {"Service a", "Service b", "Service c"}
    assert decision.again_at is None
    assert not files.admission.problems()


def test_a_typo_costs_nobody_else_and_keeps_the_last_good_version() -> None:
    files = Files()
    files.change(a=many(service("a", 1), service("b", 1)))
    files.change(a=many(service("a", 2), service("b", 1).replace("port: 1", "prot: 1")))
    assert files.port("a") == 2, "the neighbour in the same file moved on"
    assert files.port("b") == 1
    assert files.codes() == [admission.HELD]
    assert any(problem.path.endswith("prot") and problem.line == 11 for problem in files.admission.problems())
    files.change(a=many(service("a", 2), service("b", 3)))
    assert files.port("b") == 3
    assert not files.admission.problems()


def test_a_document_that_was_never_good_is_left_out() -> None:
    files = Files()
    files.change(a=many(service("a"), service("b", 99999)))
    assert files.serving() == {"Service a"}
    assert files.codes() == [admission.LEFT_OUT]


def test_a_part_that_does_not_parse_holds_what_was_in_it() -> None:
    files = Files()
    files.change(a=many(service("a"), service("b"), service("c")))
    files.change(a=many(service("a", 2), "kind: [Service\n", service("c", 3)))
    assert files.port("a") == 2
    assert files.port("c") == 3
    assert files.port("b") == 80, "nobody knows what the broken part was, so nothing of the file is gone"
    assert files.codes() == [admission.HELD]


def test_a_file_that_cannot_be_read_holds_its_documents() -> None:
    files = Files()
    files.change(a=service("a"), b=service("b"))
    unreadable = admission.understand(f"{ROOT}/a.yaml", None)
    files.admission.step([unreadable], (), files.now)
    assert files.serving() == {"Service a", "Service b"}


def test_an_empty_file_holds_and_a_comment_removes() -> None:
    files = Files()
    files.change(a=service("a"), b=service("b"))
    files.change(a="")
    assert files.serving() == {"Service a", "Service b"}
    files.change(a="# nothing here any longer\n")
    assert files.serving() == {"Service b"}


def test_removing_a_document_or_a_file_is_a_wish() -> None:
    files = Files()
    files.change(a=many(service("a"), service("b")), c=service("c"))
    files.change(a=service("a"))
    assert files.serving() == {"Service a", "Service c"}
    decision = files.change(c=None)
    assert files.serving() == {"Service a"}
    assert decision.removed == (Key("Service", "default", "c"),)


def test_a_document_may_move_to_another_file() -> None:
    files = Files()
    files.change(a=many(service("a"), service("b")))
    decision = files.change(a=service("a"), b=service("b"))
    assert files.serving() == {"Service a", "Service b"}
    assert not decision.facts, "nothing that anyone reads is different"
    assert files.admission.accepted[Key("Service", "default", "b")].document.file == "mesh/b.yaml"
    files.change(b=None)
    assert files.serving() == {"Service a"}


def test_moving_a_document_within_its_file_changes_nothing_but_its_line() -> None:
    files = Files()
    files.change(a=service("a"))
    decision = files.change(a="# a comment\n\n" + service("a"))
    assert not decision.facts
    assert files.admission.accepted[Key("Service", "default", "a")].document.line == 1
    assert files.admission.accepted[Key("Service", "default", "a")].document.position(("kind",))[0] == 4


def test_the_same_document_twice_names_both_and_the_one_in_service_stays() -> None:
    files = Files()
    files.change(b=service("x", 1))
    files.change(a=service("x", 2))
    assert files.port("x") == 1, "it was here first"
    (twice,) = [problem for problem in files.admission.problems() if problem.code == admission.TWICE]
    assert twice.file == "mesh/a.yaml"
    assert "mesh/b.yaml" in twice.message
    files.change(b=None)
    assert files.port("x") == 2, "the other one takes over"
    assert not files.admission.problems()


def test_twice_at_the_first_load_the_first_path_wins() -> None:
    files = Files()
    files.change(b=service("x", 1), a=service("x", 2))
    assert files.port("x") == 2


def test_a_twin_with_a_typo_does_not_touch_the_good_one() -> None:
    files = Files()
    files.change(b=service("x", 1))
    files.change(a=service("x").replace("ports", "prots"))
    assert files.port("x") == 1


def test_a_mass_removal_waits_for_silence_whole() -> None:
    files = Files()
    files.change(keep=service("keep"), **{f"s{n}": service(f"s{n}") for n in range(9)})
    decision = files.change(extra=service("extra"), **{f"s{n}": None for n in range(9)})
    assert len(files.serving()) == 10
    assert "Service extra" not in files.serving(), "the change waits whole"
    assert files.codes() == [admission.REMOVAL_WAITS]
    assert decision.again_at == files.now + admission.REMOVAL_PATIENCE
    files.wait(1.0)
    assert len(files.serving()) == 10
    files.wait(1.5)
    assert files.serving() == {"Service keep", "Service extra"}
    assert not files.codes()


def test_a_mass_removal_that_is_undone_was_none() -> None:
    files = Files()
    texts = {f"s{n}": service(f"s{n}") for n in range(9)}
    files.change(keep=service("keep"), **texts)
    files.change(**dict.fromkeys(texts))
    files.now += 1
    files.change(**texts)
    files.wait(10)
    assert len(files.serving()) == 10
    assert not files.codes()


def test_a_mass_removal_is_counted_over_all_that_waits() -> None:
    """Files that go one after the other are one removal as long as nothing was decided."""
    files = Files()
    files.change(keep=service("keep"), **{f"s{n}": service(f"s{n}") for n in range(9)})
    files.change(**{f"s{n}": None for n in range(7)})
    files.now += 1.5
    files.change(s7=None)
    files.wait(1.5)
    assert len(files.serving()) == 10, "the silence began anew"
    files.wait(0.6)
    assert files.serving() == {"Service keep", "Service s8"}


def test_a_directory_that_is_suddenly_empty_holds_everything() -> None:
    files = Files()
    files.change(a=service("a"), b=service("b"))
    files.change(a=None, b=None)
    files.wait(60)
    assert files.serving() == {"Service a", "Service b"}
    assert files.codes() == [admission.HELD] * 2
    files.change(a=service("a"))
    files.wait(60)
    assert files.serving() == {"Service a"}, "documents came back, so what is missing now is meant"


def test_an_empty_directory_may_be_meant() -> None:
    files = Files(allow_empty=True)
    files.change(a=service("a"))
    files.change(a=None)
    assert files.serving() == set()


def test_a_rename_with_a_typo_removes_nothing() -> None:
    files = Files()
    files.change(a=service("a"), b=service("b"))
    files.change(a=None, c="kind: [Service")
    assert files.serving() == {"Service a", "Service b"}
    files.change(b=service("b", 81))
    assert files.serving() == {"Service a", "Service b"}
    files.change(c=service("a", 2))
    assert files.port("a") == 2
    files.change(c="# moved away\n")
    assert files.serving() == {"Service b"}


def test_a_new_version_that_loses_its_subset_waits_for_the_rest_of_the_change() -> None:
    files = Files()
    files.change(s=service("s"), d=subsets("s", "v1"), v=rule("s", "s", "v1"))
    decision = files.change(v=rule("s", "s", "v2"))
    assert files.codes() == [admission.WAITING]
    assert decision.again_at == files.now + admission.REFERENCE_PATIENCE
    decision = files.change(d=subsets("s", "v1", "v2"))
    assert {version.object.key.kind for version in decision.put if version.object} == {
        "DestinationRule",
        "VirtualService",
    }
    assert not files.codes()


def test_when_nothing_comes_it_acts_all_the_same() -> None:
    files = Files()
    files.change(s=service("s"), d=subsets("s", "v1"), v=rule("s", "s", "v1"))
    files.change(v=rule("s", "s", "v2"))
    files.wait(0.2)
    version = files.admission.accepted[Key("VirtualService", "default", "s")]
    assert version.object is not None
    assert version.object.spec.http[0].route[0].destination.subset == "v2"
    assert not files.codes()


def test_it_is_held_while_what_it_names_is_held() -> None:
    files = Files()
    files.change(s=service("s"), d=subsets("s", "v1"), v=rule("s", "s", "v1"))
    files.change(d=subsets("s", "v1", "v2").replace("labels", "lables"), v=rule("s", "s", "v2"))
    files.wait(5)
    assert sorted(files.codes()) == sorted([admission.HELD, admission.WAITING])
    version = files.admission.accepted[Key("VirtualService", "default", "s")]
    assert version.object is not None
    assert version.object.spec.http[0].route[0].destination.subset == "v1"
    files.change(d=subsets("s", "v1", "v2"))
    assert not files.codes()
    version = files.admission.accepted[Key("VirtualService", "default", "s")]
    assert version.object is not None
    assert version.object.spec.http[0].route[0].destination.subset == "v2"


def test_a_reference_that_never_resolved_holds_nothing() -> None:
    files = Files()
    files.change(v=rule("s", "nowhere"))
    decision = files.change(v=rule("s", "elsewhere"))
    assert decision.again_at is not None, "a checkout may still bring it"
    files.wait(0.2)
    version = files.admission.accepted[Key("VirtualService", "default", "s")]
    assert version.object is not None
    assert version.object.spec.http[0].route[0].destination.host == "elsewhere"


def test_a_change_that_breaks_no_reference_acts_at_once() -> None:
    files = Files()
    files.change(s=service("s"), d=subsets("s", "v1", "v2"), v=rule("s", "s", "v1"))
    decision = files.change(v=rule("s", "s", "v2"))
    assert decision.facts
    assert decision.again_at is None


def restart(files: Files) -> list[Version]:
    """What the state directory would give back."""
    restored = []
    for version in files.kept.values():
        document = documents.restore(version.document.file, version.document.line, version.document.source)
        assert document is not None
        restored.append(Version(document, decode(document)[0]))
    return restored


def test_a_restart_while_a_file_is_broken_serves_the_accepted_version() -> None:
    files = Files()
    files.change(a=many(service("a", 1), service("b", 1)))
    again = Files(restart(files))
    again.change(a=many(service("a", 2), "kind: [Service"))
    assert again.port("a") == 2
    assert again.port("b") == 1
    assert again.codes() == [admission.HELD]


def test_a_restart_without_anything_new_has_the_same_revision() -> None:
    files = Files()
    files.change(a=many(service("a", 1), service("b", 1)))
    again = Files(restart(files))
    again.change(a=many(service("a", 1), service("b", 1)))
    assert again.admission.revision == files.admission.revision
    assert again.port("b") == 1


def test_what_was_removed_while_nobody_looked_is_gone() -> None:
    files = Files()
    files.change(a=service("a"), b=service("b"))
    again = Files(restart(files))
    again.change(a=service("a"))
    assert again.serving() == {"Service a"}


def test_an_empty_directory_at_a_restart_holds_everything() -> None:
    files = Files()
    files.change(a=service("a"), b=service("b"))
    again = Files(restart(files))
    again.change()
    assert again.serving() == {"Service a", "Service b"}


def test_a_mass_removal_at_a_restart_waits() -> None:
    files = Files()
    files.change(keep=service("keep"), **{f"s{n}": service(f"s{n}") for n in range(9)})
    again = Files(restart(files))
    decision = again.change(keep=service("keep"))
    assert len(again.serving()) == 10
    assert decision.again_at is not None
    again.wait(2.1)
    assert again.serving() == {"Service keep"}


def test_the_revision_is_that_of_the_content() -> None:
    one, other = Files(), Files()
    one.change(a=service("a"), b=service("b"))
    other.change(c=many(service("b"), service("a")))
    assert one.admission.revision == other.admission.revision
    one.change(a=service("a", 2))
    assert one.admission.revision != other.admission.revision
    one.change(a=service("a"))
    assert one.admission.revision == other.admission.revision


def test_what_protects_and_is_not_in_force_is_told_apart() -> None:
    files = Files()
    files.change(
        a=service("a"),
        p="apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\nspec: {}\n",
    )
    (found,) = files.admission.unprotected()
    assert found.object == "AuthorizationPolicy default/p"


@pytest.mark.parametrize(
    ("policy", "protects"),
    [
        ("tls: {mode: SIMPLE, caFile: a}", True), ("tls: {mode: SIMPEL}", True), ("tls: {mode: DISABLE, a: b}", False),
        ("portLevelSettings: [{port: {number: 0}, tls: {mode: MUTUAL}}]", True), ("loadBalancer: {simple: BEST}", False),
    ],
)  # fmt: skip
def test_a_rule_that_encrypts_protects(policy: str, protects: bool) -> None:
    files = Files()
    head = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r}\n"
    files.change(a=service("a"), r=f"{head}spec: {{host: a, trafficPolicy: {{{policy}}}}}\n")
    assert files.serving() == {"Service a"}
    assert bool(files.admission.unprotected()) is protects


ENCRYPTS = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {0}}}
spec: {{host: {0}, trafficPolicy: {{tls: {{mode: {1}}}}}}}
"""
ASKS = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: door}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
    - hosts: [shop.example.com]
      port: {{number: 443, name: https, protocol: HTTPS}}
      tls: {{mode: MUTUAL, {0}}}
"""
OPEN = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: window}
spec:
  selector: {istio: ingressgateway}
  servers:
    - hosts: ["*.example.com"]
      port: {number: 80, name: http, protocol: HTTP}
"""
POLICY = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: nobody{0}}}
spec: {1}
"""


def selecting(name: str, app: str, more: str = "") -> str:
    return service(name) + f"  selector: {{app: {app}}}\n" + more


def held(files: Files) -> set[str]:
    return {problem.object for problem in files.admission.held() if problem.code == admission.UNPROTECTED}


def test_what_is_new_waits_for_the_rule_that_should_encrypt_it() -> None:
    files = Files()
    files.change(old=service("old"))
    files.change(new=many(service("new"), rule("new", "new"), service("other")), tls=ENCRYPTS.format("new", "SIMPEL"))
    assert files.serving() == {"Service old", "Service other"}
    assert held(files) == {"Service default/new", "VirtualService default/new"}
    files.change(tls=ENCRYPTS.format("new", "SIMPLE"))
    assert files.serving() >= {"Service new", "VirtualService new", "DestinationRule new"}
    assert held(files) == set()


def test_what_waits_goes_on_waiting_when_it_is_edited_and_acts_when_the_other_is_removed() -> None:
    files = Files()
    files.change(old=service("old"))
    files.change(new=service("new"), tls=ENCRYPTS.format("new", "SIMPEL"))
    files.change(new=service("new", 81))
    assert files.serving() == {"Service old"}
    files.change(tls=None)
    assert files.serving() == {"Service old", "Service new"}


def test_what_is_in_service_or_comes_later_does_not_wait() -> None:
    files = Files()
    files.change(old=service("old"))
    files.change(old=service("old", 81), tls=ENCRYPTS.format("old", "SIMPEL"))
    files.change(late=rule("old", "old"))
    assert files.serving() == {"Service old", "VirtualService old"}


def test_a_host_that_cannot_be_read_may_be_any_of_its_namespace() -> None:
    files = Files()
    files.change(old=service("old"))
    files.change(new=service("new"), tls=ENCRYPTS.format("new", "SIMPEL").replace("host: new", "host: [new]"))
    assert files.serving() == {"Service old"}


def test_a_gateway_that_should_ask_for_certificates_holds_the_open_one_beside_it() -> None:
    files = Files()
    files.change(old=service("old"))
    bound = rule("shop", "old").replace("hosts: [shop]", "hosts: [shop.example.com]\n  gateways: [door, window]")
    elsewhere = rule("mail", "old").replace("hosts: [mail]", "hosts: [mail.example.org]\n  gateways: [window]")
    files.change(door=ASKS.format("credentialNaem: a"), window=OPEN, rules=many(bound, elsewhere))
    assert files.serving() == {"Service old", "VirtualService mail"}
    files.change(door=ASKS.format("credentialName: a"))
    assert files.serving() >= {"Gateway door", "Gateway window", "VirtualService shop"}


@pytest.mark.parametrize(
    ("spec", "waits"),
    [
        ("{}", True), ("{selector: {matchLabels: {app: shop}}}", True), ("{selector: {matchLabels: {app: mail}}}", False),
        ("[]", True),
    ],
)  # fmt: skip
def test_a_policy_holds_its_workloads(spec: str, waits: bool) -> None:
    files = Files()
    files.change(old=service("old"))
    files.change(new=many(selecting("shop", "shop"), rule("r", "shop")), policy=POLICY.format("", spec))
    assert (files.serving() == {"Service old"}) is waits
    assert files.serving() == {"Service old"} | (set() if waits else {"Service shop", "VirtualService r"})


def test_a_policy_of_another_namespace_holds_nothing_and_one_of_the_root_everything() -> None:
    for namespace, waits in (("elsewhere", False), ("istio-system", True)):
        files = Files()
        files.change(old=service("old"))
        files.change(new=service("new"), policy=POLICY.format(f", namespace: {namespace}", "{}"))
        assert ("Service new" not in files.serving()) is waits


@pytest.mark.parametrize(
    ("spec", "waits"), [("{selector: {matchLabels: {istio: ingressgateway}}}", True), ("{}", False)]
)
def test_a_policy_for_a_gateways_proxies_holds_what_is_new_there(spec: str, waits: bool) -> None:
    files = Files()
    files.change(old=service("old"), window=OPEN)
    bound = rule("shop", "old").replace("hosts: [shop]", "hosts: [shop.example.com]\n  gateways: [window]")
    files.change(rule=bound, policy=POLICY.format(", namespace: gateways", spec))
    assert ("VirtualService shop" not in files.serving()) is waits


def test_nothing_waits_if_that_is_what_is_wanted() -> None:
    files = Files(fails_open=True)
    files.change(old=service("old"))
    files.change(new=service("new"), policy=POLICY.format("", "{}"))
    assert files.serving() == {"Service old", "Service new"}


# --- refused by a proxy ------------------------------------------------------------------------------------------------


def test_what_a_proxy_refuses_goes_back_and_another_version_is_tried_at_once() -> None:
    files = Files()
    files.change(a=service("a", 1))
    key = Key("Service", "default", "a")
    good = files.admission.accepted[key]
    files.change(a="# bad\n" + service("a", 2))
    assert files.port("a") == 2
    decision = files._note(files.admission.refuse({key: (good, "Envoy refuses it")}))
    assert files.port("a") == 1
    assert decision.facts
    assert files.kept[key] is good, "a restart begins with what was taken"
    (held,) = files.admission.held()
    assert (held.code, held.object, held.line) == ("LEG0506", "Service default/a", 2)
    assert held.message == "Envoy refuses it; the version that was taken last (from mesh/a.yaml:1) is in service"

    files.change(b=service("b"))
    assert (files.serving(), files.port("a")) == ({"Service a", "Service b"}, 1)
    assert not files.change(a="# moved\n\n" + service("a", 2)).facts, "the same, in another place"
    assert files.codes() == ["LEG0506"]

    files.change(a=service("a", 3))
    assert files.port("a") == 3
    assert files.codes() == []


def test_what_a_proxy_refuses_and_was_never_taken_is_left_out_until_it_is() -> None:
    files = Files()
    files.change(services=service("a"))
    files.change(rules=rule("r", "a"))
    key = Key("VirtualService", "default", "r")
    decision = files._note(files.admission.refuse({key: (None, "Envoy refuses it")}))
    assert decision.removed == (key,)
    assert key not in files.kept
    assert [problem.message for problem in files.admission.held()] == ["Envoy refuses it; it is left out"]
    assert files.serving() == {"Service a"}
    decision = files._note(files.admission.absolve([key], files.now))
    assert key in files.admission.accepted
    assert files.admission.held() == []
    assert not files.admission.absolve([key], files.now).facts


def test_a_removal_that_a_proxy_refuses_is_taken_back_until_the_document_returns() -> None:
    files = Files()
    files.change(services=service("a"), rules=rule("r", "a"), more=rule("s", "a"))
    key = Key("VirtualService", "default", "r")
    good = files.admission.accepted[key]
    files.change(rules=None)
    assert key not in files.admission.accepted
    files._note(files.admission.refuse({key: (good, "Envoy refuses the rest")}))
    files.wait(10)
    assert files.admission.accepted[key] is good
    assert [problem.message for problem in files.admission.held()] == ["Envoy refuses the rest; it is still in service"]
    files.change(rules=rule("r", "a"))
    assert files.admission.held() == []
