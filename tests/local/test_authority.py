"""An authority of one's own: what it signs, for how long, for which end."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from legation.local.authority import Purpose, initialise, issue, read

WEB = "spiffe://mesh.example/ns/shop/sa/web"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    initialise(tmp_path / "ca", "mesh.example")
    return tmp_path / "ca"


def certificate(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())


def test_it_knows_its_trust_domain_and_signs_nothing_that_signs(folder: Path, tmp_path: Path) -> None:
    signer = read(folder)
    assert signer.trust_domain == "mesh.example"
    basic = signer.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    issue(signer, tmp_path / "web", Purpose.CLIENT, [WEB])
    made = certificate(tmp_path / "web")
    made.verify_directly_issued_by(signer.certificate)
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not made.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


@pytest.mark.parametrize(
    ("purpose", "usage"),
    [(Purpose.SERVER, ExtendedKeyUsageOID.SERVER_AUTH), (Purpose.CLIENT, ExtendedKeyUsageOID.CLIENT_AUTH)],
)
def test_a_certificate_is_for_one_end_and_for_its_names(
    folder: Path, tmp_path: Path, purpose: Purpose, usage: x509.ObjectIdentifier
) -> None:
    issue(read(folder), tmp_path / "out", purpose, [WEB, "web.shop", "10.0.0.1"])
    extensions = certificate(tmp_path / "out").extensions
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [usage]
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [WEB]
    assert names.get_values_for_type(x509.DNSName) == ["web.shop"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]


def test_nothing_holds_longer_than_its_authority(tmp_path: Path) -> None:
    initialise(tmp_path / "ca", "mesh.example", days=10)
    until = issue(read(tmp_path / "ca"), tmp_path / "out", Purpose.CLIENT, [WEB], days=3650)
    assert until == certificate(tmp_path / "out").not_valid_after_utc
    assert until <= datetime.now(UTC) + timedelta(days=10)


def test_nothing_is_replaced_by_mistake_nor_left_by_half(folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match="--force"):
        initialise(folder, "mesh.example")
    assert before == {path: path.read_bytes() for path in folder.iterdir()}
    out = tmp_path / "out"
    out.mkdir()
    (out / "tls.crt").write_text("somebody's")
    with pytest.raises(FileExistsError):
        issue(read(folder), out, Purpose.CLIENT, [WEB])
    assert [path.name for path in out.iterdir()] == ["tls.crt"]
    issue(read(folder), out, Purpose.CLIENT, [WEB], force=True)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {
        "tls.crt": 0o644, "tls.key": 0o600, "ca.crt": 0o644
    }  # fmt: skip


def test_a_key_of_another_authority_signs_nothing(folder: Path, tmp_path: Path) -> None:
    initialise(tmp_path / "other", "mesh.example")
    (folder / "ca.key").write_bytes((tmp_path / "other" / "ca.key").read_bytes())
    with pytest.raises(ValueError, match="not the key"):
        read(folder)
