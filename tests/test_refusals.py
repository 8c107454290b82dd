"""Whose word counts when something is refused, and which documents it means."""

from __future__ import annotations

from collections.abc import Collection

import pytest
from legation.model.meta import Key
from legation.names import ROUTE
from legation.refusals import PATIENCE, Case, Kind, Ledger, Refusals
from legation.snapshot.snapshot import Resource, Snapshot, evolve, resource, snapshot
from legation.stream.proofs import OF_THE_CONTENT, Refused, pause
from legation.stream.words import is_of_the_host, named

ENVOY: Kind = ("envoy", "1.40.0")
OLDER: Kind = ("envoy", "1.39.0")


def table(content: str = "1", *origins: str, name: str = "r") -> Resource:
    return resource(
        ROUTE, name, f"{name} {content}".encode(), (), [Key("VirtualService", "default", one) for one in origins]
    )


class Court:
    """Refusals with an audience."""

    def __init__(self, *audience: str) -> None:
        self.refusals = Refusals()
        self.audience = set(audience)
        self.now = 100.0

    def refuses(
        self, who: str, content: Resource, *, verified: bool = True, words: str = "no", kind: Kind = ENVOY
    ) -> Case:
        case = self.refusals.refused(kind, who, content, words, self.now, verified=verified)
        assert case is not None
        return case

    def takes(self, who: str, content: Resource, kind: Kind = ENVOY) -> list[Case]:
        return self.refusals.took(kind, who, [content])

    def decides(self, after: float = 0.0) -> list[str]:
        self.now += after
        return [case.resource.name for case in self.refusals.decide(self.now, self._audience)]

    def _audience(self, _: Case) -> Collection[str]:
        return self.audience


def test_the_word_of_the_only_client_counts_at_once() -> None:
    court = Court("a")
    court.refuses("a", table(), verified=False)
    assert court.decides() == ["r"]
    assert court.decides(10) == []


def test_one_of_several_holds_back_nobody_else_however_long_it_insists() -> None:
    court = Court("a", "b")
    for _ in range(5):
        court.refuses("a", table())
        assert court.decides(PATIENCE) == []


def test_two_verified_ones_count_after_two_seconds_in_which_nobody_took_it() -> None:
    court = Court("a", "b", "c")
    court.refuses("a", table())
    court.refuses("b", table())
    assert court.decides(PATIENCE / 2) == []
    assert court.refusals.again_at(court.now) == 100.0 + PATIENCE
    assert court.decides(PATIENCE / 2) == ["r"]


def test_who_claims_to_be_many_counts_for_nothing_unless_verified() -> None:
    court = Court("a", "b", "c")
    court.refuses("a", table(), verified=False)
    court.refuses("b", table(), verified=False)
    court.refuses("c", table(), verified=False)
    assert court.decides(PATIENCE) == []


def test_when_all_who_are_there_refuse_nobody_is_waited_for() -> None:
    court = Court("a", "b")
    court.refuses("a", table())
    assert court.decides() == []
    court.refuses("b", table())
    assert court.decides() == ["r"]


def test_the_local_envoy_is_a_second_voice() -> None:
    court = Court("a", "b")
    court.refuses("a", table()).seconded = True
    assert court.decides(PATIENCE / 2) == []
    assert court.decides(PATIENCE / 2) == ["r"]


def test_who_takes_it_first_settles_it() -> None:
    court = Court("a", "b", "c")
    court.refuses("a", table())
    assert court.takes("c", table()) == []
    court.refuses("b", table())
    assert court.decides(0) == []


def test_the_first_who_takes_it_lifts_what_was_held() -> None:
    court = Court("a")
    court.refuses("a", table())
    assert court.decides() == ["r"]
    assert court.refusals.remembered() != {}
    assert [case.resource.name for case in court.takes("b", table())] == ["r"]
    assert court.refusals.remembered() == {}
    assert court.takes("b", table()) == []


def test_what_nobody_is_served_any_more_is_not_held() -> None:
    court = Court()
    court.refuses("a", table())
    assert court.decides(PATIENCE) == []
    assert court.refusals.again_at(0.0) is None


def test_clients_of_another_version_judge_for_themselves() -> None:
    court = Court("a")
    court.refuses("a", table())
    court.takes("z", table(), OLDER)
    assert court.decides() == ["r"]
    assert court.refusals.proofs(OLDER, "z").proven(table())
    assert not court.refusals.proofs(ENVOY, "b").proven(table())
    assert court.refusals.proofs(ENVOY, "b").refused(table(), court.now) == "no"
    assert court.refusals.proofs(OLDER, "y").refused(table(), court.now) == ""


def test_what_one_refused_is_not_sent_to_it_again_until_its_time_and_to_others_it_is() -> None:
    court = Court("a", "b")
    for tries in (1, 2, 3):
        court.refuses("a", table())
        mine, theirs = court.refusals.proofs(ENVOY, "a"), court.refusals.proofs(ENVOY, "b")
        assert mine.refused(table(), court.now + pause(tries, OF_THE_CONTENT) - 1) == "no"
        assert mine.refused(table(), court.now + pause(tries, OF_THE_CONTENT)) == ""
        assert theirs.refused(table(), court.now) == ""


def test_what_an_earlier_server_knew_counts_at_once_and_for_a_while() -> None:
    court = Court("a", "b")
    court.refusals.remember(ENVOY, table().version, Refused((ROUTE, "r"), "no", 1, again=130.0))
    served = {(ROUTE, "r"): table()}
    bad = list(court.refusals.known_bad(ENVOY, lambda *ref: served.get(ref), 100.0))
    assert [(case.resource, case.words) for case in bad] == [(table(), "no")]
    assert not list(court.refusals.known_bad(OLDER, lambda *ref: served.get(ref), 100.0))
    assert not list(court.refusals.known_bad(ENVOY, lambda *ref: served.get(ref), 130.0))
    served[ROUTE, "r"] = table("2")
    assert not list(court.refusals.known_bad(ENVOY, lambda *ref: served.get(ref), 100.0))
    court.refuses("a", table())
    assert court.decides() == ["r"], "one word is enough for what was known"


@pytest.mark.parametrize(
    "words",
    [
        "Error adding/updating listener(s) http: cannot bind '0.0.0.0:80': Address already in use",
        "cannot bind '10.9.9.9:80': Cannot assign requested address",
        "unable to read file: /etc/certs/tls.crt",
        "Invalid path: /etc/certs/tls.crt",
    ],
)
def test_a_trouble_of_the_host_is_no_case(words: str) -> None:
    assert is_of_the_host(words)
    assert Refusals().refused(ENVOY, "a", table(), words, 0.0, verified=True) is None


@pytest.mark.parametrize(
    "words",
    [
        "Only unique values for domains are permitted. Duplicate entry of domain red.example in route http.80",
        "Proto constraint validation failed (ClusterValidationError.ConnectTimeout: value must be greater than 0s)",
        "Unable to parse JSON as proto: invalid value",
        "no",
    ],
)
def test_everything_else_is(words: str) -> None:
    assert not is_of_the_host(words)


def test_who_is_named() -> None:
    words = "Error adding/updating cluster(s) outbound|80||a.test: bad, outbound|80||b.test: worse"
    names = ["outbound|80||a.test", "outbound|80||b.test", "outbound|80||a.tes", "a", "add"]
    assert named(words, names) == {"outbound|80||a.test", "outbound|80||b.test"}


class Books:
    """A ledger, and one table that documents change."""

    def __init__(self) -> None:
        self.ledger: Ledger[str] = Ledger()
        self.now = Snapshot()

    def step(self, *put: Resource, **before: str | None) -> None:
        self.ledger.step({Key("VirtualService", "default", name): version for name, version in before.items()})
        earlier = self.now
        self.now, change = evolve(earlier, put, [])
        self.ledger.changed(earlier, self.now, change)

    def suspects(self, of: Resource) -> dict[str, str | None]:
        return {key.name: version for key, version in self.ledger.suspects(of).items()}


def test_the_documents_that_changed_since_it_was_last_taken_are_meant() -> None:
    books = Books()
    books.step(table("1", "a", "b"), a=None, b=None)
    books.ledger.took([table("1")])
    books.step(table("2", "a", "b"), a="a1", other="x")
    assert books.suspects(table("2", "a", "b")) == {"a": "a1"}
    books.step(table("3", "a", "b"), b="b1")
    books.step(table("4", "a", "b"), a="a2")
    assert books.suspects(table("4", "a", "b")) == {"a": "a1", "b": "b1"}, "with what they were when it was taken"
    books.ledger.took([table("3", "a", "b"), table("4", "a", "b")])
    books.step(table("5", "a", "b"), b="b2")
    assert books.suspects(table("5", "a", "b")) == {"b": "b2"}


def test_a_document_that_went_is_meant_too() -> None:
    books = Books()
    books.step(table("1", "a", "b"))
    books.ledger.took([table("1")])
    books.step(table("2", "b"), a="a1")
    assert books.suspects(table("2", "b")) == {"a": "a1"}


def test_of_a_content_from_before_anybody_remembers_all_that_changed_is_meant() -> None:
    """A restart with files that were edited meanwhile: scopes are rendered when their first client comes."""
    books = Books()
    books.ledger.step({Key("VirtualService", "default", "a"): "a1", Key("VirtualService", "default", "c"): "c1"})
    assert books.suspects(table("9", "a", "b")) == {"a": "a1"}


def test_harmless_ones_are_nobodys_concern() -> None:
    books = Books()
    harmless = resource(ROUTE, "r", b"x", harmless=True)
    books.step(harmless, a=None)
    assert books.ledger._pending == {}
    assert snapshot([harmless]).of(ROUTE)["r"].harmless
