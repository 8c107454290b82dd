"""The mesh's configuration where Istio has it: bare in a file, or as text in a ConfigMap. Lines are those of the file."""

from __future__ import annotations

from legation.ingest import admission, documents
from legation.ingest.admission import Admission, File, Version
from legation.ingest.decode import decode
from legation.model.world import World
from legation.names import Key

MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |

    # for everyone
    connectTimeout: 3s
    accessLogFile: /dev/stdout
  meshNetworks: "networks: {}"
"""


def understood(text: str, is_mesh_config: bool = False) -> File:
    return admission.understand("mesh.yaml", text, is_mesh_config=is_mesh_config)


def told(file: File) -> list[tuple[int, int, str, str]]:
    found = [*file.problems, *(one for each in file.versions.values() for version in each for one in version.problems)]
    return [(problem.line, problem.column, problem.object, problem.path) for problem in found]


def only(file: File, key: Key) -> Version:
    (version,) = file.versions[key]
    return version


FLAG = Key("MeshConfig", "", "command-line")
CONFIG_MAP = Key("MeshConfig", "", "istio.istio-system")


def test_a_bare_file_is_one_when_it_is_named() -> None:
    version = only(understood("connectTimeout: 3s\n", True), FLAG)
    assert version.object is not None
    assert version.object.spec.connect_timeout.total_seconds() == 3
    assert told(understood("connectTimeout: 3s\n"))  # else it is a document without a kind


def test_a_bare_file_names_its_lines_and_paths_as_they_are_written() -> None:
    assert told(understood("# hi\ndefaultConfig:\n  gatewayTopology: {numTrusted: 3}\n", True)) == [
        (3, 21, "MeshConfig command-line", "defaultConfig.gatewayTopology.numTrusted")
    ]


def test_the_config_map_is_one_beside_itself() -> None:
    file = understood(MAP)
    assert set(file.versions) == {Key("ConfigMap", "istio-system", "istio"), CONFIG_MAP}
    assert told(file) == []


def test_a_typo_inside_the_config_map_has_the_line_of_the_file() -> None:
    typo = MAP.replace("connectTimeout", "conectTimeout")
    assert told(understood(typo)) == [(8, 5, "MeshConfig istio.istio-system", "conectTimeout")]


def test_what_does_not_parse_inside_the_config_map_has_the_line_of_the_file() -> None:
    file = understood(MAP.replace("3s", "[3s"))
    assert [(line, column) for line, column, _, _ in told(file)] == [(9, 18)]
    assert not file.complete


def test_a_text_in_quotes_is_told_where_it_begins() -> None:
    quoted = MAP.partition("  mesh:")[0] + '  mesh: "conectTimeout: 3s"\n'
    assert told(understood(quoted)) == [(5, 9, "MeshConfig istio.istio-system", "conectTimeout")]


def test_another_config_map_is_none() -> None:
    assert set(understood(MAP.replace("istio-system", "default")).versions) == {Key("ConfigMap", "default", "istio")}
    assert FLAG in understood(MAP.replace("istio-system", "default"), True).versions  # unless it is named


def test_an_empty_text_says_nothing_and_is_fine() -> None:
    empty = MAP.partition("  mesh:")[0] + '  mesh: ""\n'
    assert only(understood(empty), CONFIG_MAP).object is not None


def test_it_is_held_like_any_document_and_survives_a_restart() -> None:
    admitted = Admission(World(), ())
    admitted.step([understood(MAP)], (), 0)
    admitted.step([understood(MAP.replace("3s", "3"))], (), 1)
    held = admitted.accepted[CONFIG_MAP]
    assert held.object is not None
    assert held.object.spec.connect_timeout.total_seconds() == 3
    assert [(problem.object, problem.line) for problem in admitted.held()] == [("MeshConfig istio.istio-system", 6)]
    again = documents.restore("mesh.yaml", held.document.line, held.document.source)
    assert again is not None
    assert decode(again)[0] == held.object
