"""Mutual TLS of the verbs: who may ask, by certificates in files that are replaced while the extender runs.

Certificates are renewed every few weeks, by cert-manager say, and a kubelet then replaces the files of a mounted
Secret. A restart for that would cost the books; so the files are looked at again and again.
"""

import asyncio
import hashlib
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from gpu_topology.errors import SettingsError

LOOK_SECONDS: Final = 5.0
"""Between two looks at the files. A kubelet takes a minute or so to replace those of a Secret."""

_log = structlog.get_logger(__name__)


class CertificateFiles(NamedTuple):
    """Where the certificates are, as PEM files.

    Attributes:
        certificate: the extender's own, followed by those between it and its CA.
        key: its private key, not encrypted.
        client_ca: the CAs whose certificates clients have to show.
    """

    certificate: Path
    key: Path
    client_ca: Path


class Certificates:
    """The certificates in use.

    Attributes:
        context: for a server; each connection is made with what was in use when it began.
        reloads: how often changed files were taken up (replaced), or could not be (failed).
        refused: handshakes that failed, by OpenSSL's reason, such as PEER_DID_NOT_RETURN_A_CERTIFICATE.

    Args:
        files: read at once, and again at each `renew`.

    Raises:
        SettingsError: a file cannot be used.
    """

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._digest = _digest(files)
        self._failure: str | None = None
        self.reloads: Counter[str] = Counter(replaced=0, failed=0)
        self.refused: Counter[str] = Counter()
        self.context = _Latest(ssl.PROTOCOL_TLS_SERVER)
        self.context.latest = _load(files, self._note_refusal)

    def renew(self) -> bool:
        """Take up the files if they have changed; where that fails, what is in use stays in use.

        Returns:
            Whether others are in use now.
        """
        try:
            digest = _digest(self._files)
            if digest == self._digest:
                self._failure = None
                return False
            latest = _load(self._files, self._note_refusal)
        except SettingsError as error:
            self._note_failure(str(error))
            return False
        self.context.latest, self._digest, self._failure = latest, digest, None
        self.reloads["replaced"] += 1
        _log.info("the certificates were replaced")
        return True

    def _note_failure(self, failure: str) -> None:
        self.reloads["failed"] += 1
        if failure != self._failure:
            _log.error("the certificates were changed and cannot be used; the old ones stay in use", error=failure)
        self._failure = failure

    def _note_refusal(self, error: ssl.SSLError) -> None:
        self.refused[error.reason or "UNKNOWN"] += 1
        _log.warning("no connection, for want of a certificate that both sides trust", error=str(error))


@dataclass
class Renewal:
    """Keeps certificates up to date.

    Attributes:
        certificates: those in use.
        then: called when they were replaced.
        pause: seconds between two looks at the files.
    """

    certificates: Certificates
    then: Callable[[], None]
    pause: float = LOOK_SECONDS

    async def run(self) -> None:
        """Look at the files until cancelled."""
        while True:
            await asyncio.sleep(self.pause)
            if self.certificates.renew():
                self.then()


class _Latest(ssl.SSLContext):
    """Stands for whichever context is the latest one.

    A context of its own for every set of files, because none ever forgets a CA that it was told to trust, nor the
    sessions of those who were let in.

    Attributes:
        latest: makes the connections that begin from now on.
    """

    latest: ssl.SSLContext

    def wrap_bio(self, *arguments: Any, **named: Any) -> ssl.SSLObject:
        """Begin a connection: what asyncio asks of a context."""
        return self.latest.wrap_bio(*arguments, **named)


def _load(files: CertificateFiles, refused: Callable[[ssl.SSLError], None]) -> ssl.SSLContext:
    """What the files say, for connections of TLS 1.2 or 1.3 to clients with a certificate."""

    class Connection(ssl.SSLObject):
        """Tells why a handshake failed, which asyncio does not."""

        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
                raise
            except ssl.SSLError as error:
                refused(error)
                raise

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sslobject_class = Connection
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password OpenSSL would ask for that of an encrypted key on the terminal, and wait.
        context.load_cert_chain(files.certificate, files.key, password="")
    except OSError as error:
        raise SettingsError(f"certificate {files.certificate} with key {files.key}: {_reason(error)}") from error
    try:
        context.load_verify_locations(files.client_ca)
    except OSError as error:
        raise SettingsError(f"client CA {files.client_ca}: {_reason(error)}") from error
    return context


def _digest(files: CertificateFiles) -> bytes:
    """Of what the files hold: the key itself is not kept."""
    digest = hashlib.sha256()
    for path in files:
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise SettingsError(f"{path}: {_reason(error)}") from error
    return digest.digest()


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return error.strerror or str(error)
