"""Mutual TLS: who is let in, and how certificates are replaced."""

import shutil
import ssl
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from extender.tls import CertificateFiles, Certificates, Renewal
from gpu_topology.errors import SettingsError
from tests.control_plane.certificates import CertificateAuthority
from tests.extender.handshakes import SERVER, Client

LOG = list[MutableMapping[str, Any]]


class World:
    """Two CAs, and the extender's files, as a Secret has them."""

    def __init__(self, folder: Path) -> None:
        self.ours = CertificateAuthority(folder / "ours")
        self.theirs = CertificateAuthority(folder / "theirs")
        secret = folder / "secret"
        secret.mkdir()
        self.files = CertificateFiles(secret / "tls.crt", secret / "tls.key", secret / "ca.crt")
        self.serve(self.ours)
        self.believe(self.ours)

    def serve(self, authority: CertificateAuthority) -> None:
        """Give the extender a new certificate."""
        pair = authority.issue("extender", "extender", hosts=[SERVER])
        for source, target in zip(pair, self.files, strict=False):
            shutil.copyfile(source, target)

    def believe(self, authority: CertificateAuthority) -> None:
        """Let the extender believe the clients of a CA."""
        shutil.copyfile(authority.certificate, self.files.client_ca)

    def client(self, authority: CertificateAuthority, **options: Any) -> Client:
        """Somebody with a certificate of a CA, who knows our extender's."""
        return Client(self.ours.certificate, authority.issue("client", "client", **options))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_client_with_a_certificate_of_the_client_ca_is_let_in(world: World, version: ssl.TLSVersion) -> None:
    identity = world.ours.issue("client", "client")
    assert Client(world.ours.certificate, identity, version).connects_to(Certificates(world.files))


def test_no_older_tls_is_spoken(world: World) -> None:
    identity = world.ours.issue("client", "client")
    certificates = Certificates(world.files)
    assert not Client(world.ours.certificate, identity, ssl.TLSVersion.TLSv1_1).connects_to(certificates)
    assert certificates.refused.total() == 1


def test_a_client_without_a_certificate_is_refused_and_counted(world: World, logged: LOG) -> None:
    certificates = Certificates(world.files)
    assert not Client(world.ours.certificate, None).connects_to(certificates)
    assert certificates.refused == {"PEER_DID_NOT_RETURN_A_CERTIFICATE": 1}
    [line] = logged
    assert line["log_level"] == "warning"
    assert "peer did not return a certificate" in line["error"]


def test_a_client_with_a_certificate_of_another_ca_of_the_same_name_is_refused(world: World) -> None:
    certificates = Certificates(world.files)
    assert not world.client(world.theirs).connects_to(certificates)
    assert certificates.refused == {"CERTIFICATE_VERIFY_FAILED": 1}


def test_a_certificate_for_servers_is_none_for_clients(world: World) -> None:
    """So the extender's own does not let anybody in, though one CA has signed both."""
    certificates = Certificates(world.files)
    assert not world.client(world.ours, usages=[ExtendedKeyUsageOID.SERVER_AUTH]).connects_to(certificates)
    assert world.client(world.ours, usages=[ExtendedKeyUsageOID.CLIENT_AUTH]).connects_to(certificates)


def test_files_that_have_not_changed_are_left_alone(world: World) -> None:
    certificates = Certificates(world.files)
    assert not certificates.renew()
    assert certificates.reloads == {"replaced": 0, "failed": 0}


def test_a_replaced_certificate_is_taken_up(world: World) -> None:
    certificates = Certificates(world.files)
    client = world.client(world.ours)
    world.serve(world.theirs)
    assert client.connects_to(certificates)
    assert certificates.renew()
    assert not client.connects_to(certificates)  # it does not know the other CA
    world.serve(world.ours)
    assert certificates.renew()
    assert client.connects_to(certificates)
    assert certificates.reloads == {"replaced": 2, "failed": 0}


def test_a_ca_that_is_no_longer_believed_is_forgotten(world: World) -> None:
    """Not only added to: the certificates of the old one let nobody in any more."""
    certificates = Certificates(world.files)
    old, new = world.client(world.ours), world.client(world.theirs)
    world.believe(world.theirs)
    assert certificates.renew()
    assert (old.connects_to(certificates), new.connects_to(certificates)) == (False, True)


@pytest.mark.parametrize("file", CertificateFiles._fields)
@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["missing", "empty", "no PEM"])
def test_what_is_in_use_stays_in_use_while_the_new_cannot_be_used(
    world: World, logged: LOG, file: str, content: bytes | None
) -> None:
    """Said once, counted each time, and over as soon as the files are good again."""
    certificates, client = Certificates(world.files), world.client(world.ours)
    path: Path = getattr(world.files, file)
    good = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    assert not certificates.renew()
    assert not certificates.renew()
    assert client.connects_to(certificates)
    assert certificates.reloads == {"replaced": 0, "failed": 2}
    [line] = logged
    assert line["log_level"] == "error"
    assert str(path) in line["error"]
    path.write_bytes(good)
    assert not certificates.renew()
    world.serve(world.ours)
    assert certificates.renew()
    assert client.connects_to(certificates)


def test_half_of_a_replacement_is_taken_up_with_the_other_half(world: World) -> None:
    """A certificate whose key is still to come."""
    certificates = Certificates(world.files)
    pair = world.ours.issue("next", "next", hosts=[SERVER])
    shutil.copyfile(pair.certificate, world.files.certificate)
    assert not certificates.renew()
    shutil.copyfile(pair.key, world.files.key)
    assert certificates.renew()
    assert world.client(world.ours).connects_to(certificates)


@pytest.mark.parametrize("file", CertificateFiles._fields)
def test_a_file_that_cannot_be_used_is_named_at_the_start(world: World, file: str) -> None:
    path: Path = getattr(world.files, file)
    path.write_text("no certificate")
    with pytest.raises(SettingsError) as caught:
        Certificates(world.files)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_of_another_certificate_is_refused(world: World) -> None:
    shutil.copyfile(world.ours.issue("another", "another").key, world.files.key)
    with pytest.raises(SettingsError, match="key values mismatch"):
        Certificates(world.files)


def test_an_encrypted_key_is_refused_and_no_password_asked_for(world: World) -> None:
    key = load_pem_private_key(world.files.key.read_bytes(), None)
    world.files.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    with pytest.raises(SettingsError, match=r"tls\.key"):
        Certificates(world.files)


async def test_a_renewal_tells_that_there_are_others_now(world: World) -> None:
    """So that connections made with the old ones can be ended."""

    class EnoughError(Exception):
        pass

    def enough() -> None:
        raise EnoughError

    renewal = Renewal(Certificates(world.files), then=enough, pause=0)
    world.serve(world.ours)
    with pytest.raises(EnoughError):
        await renewal.run()
