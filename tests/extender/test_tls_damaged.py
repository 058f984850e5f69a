"""Certificate files of which something is missing or wrong: a clear line, never anything else."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extender.tls import CertificateFiles, Certificates
from gpu_topology.errors import SettingsError
from tests.extender.test_tls import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("tls"))


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Cut off, or with a piece replaced, doubled or left out."""
    start = draw(st.integers(0, len(whole) - 1))
    if draw(st.booleans()):
        return whole[:start]
    pieces = st.sampled_from([whole, b"-----BEGIN CERTIFICATE-----\n", b"\0", b"\n"])
    piece = draw(st.one_of(st.binary(max_size=8), pieces))
    return whole[:start] + piece + whole[start + draw(st.integers(0, 64)) :]


@pytest.mark.parametrize("file", CertificateFiles._fields)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_used_or_named_in_one_line(world: World, file: str, data: st.DataObject) -> None:
    """OpenSSL overlooks what is beside the PEM blocks."""
    path = Path(getattr(world.files, file))
    whole = path.read_bytes()
    path.write_bytes(data.draw(damaged(whole)))
    try:
        line = refusal(world.files)
    finally:
        path.write_bytes(whole)
    assert line is None or str(path.parent) in line
    assert line is None or len(line.splitlines()) == 1


def refusal(files: CertificateFiles) -> str | None:
    """Why the files cannot be used; None where they can."""
    try:
        Certificates(files)
    except SettingsError as error:
        return str(error)
    return None
