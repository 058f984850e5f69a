"""Clients that shake hands with the extender in memory, with OpenSSL itself and without a network."""

import ssl
import warnings
from contextlib import suppress
from pathlib import Path

from extender.tls import Certificates
from tests.control_plane.certificates import KeyPair

SERVER = "extender.example"
"""The name that an extender's certificate says, unless a test has another."""


class Client:
    """Somebody who asks the extender.

    Args:
        trusts: the CA that signed the extender's certificate, as far as the client knows.
        identity: its own certificate, if it has one.
        version: the only version of TLS that it speaks; None: any.
        server: the name that the extender's certificate has to say.
    """

    def __init__(
        self, trusts: Path, identity: KeyPair | None, version: ssl.TLSVersion | None = None, *, server: str = SERVER
    ) -> None:
        self._server = server
        self.context = ssl.create_default_context(cafile=trusts)
        if version is not None:
            self.context.set_ciphers("DEFAULT@SECLEVEL=0")  # without which OpenSSL itself does not speak TLS 1.1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                self.context.minimum_version = self.context.maximum_version = version
        if identity is not None:
            self.context.load_cert_chain(*identity)

    def connects_to(self, certificates: Certificates) -> bool:
        """Whether a handshake succeeds on both sides, up to the first byte of an answer."""
        to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.context.wrap_bio(to_client, to_server, server_hostname=self._server)
        server = certificates.context.wrap_bio(to_server, to_client, server_side=True)
        try:
            for step in (client.do_handshake, server.do_handshake) * 3:
                with suppress(ssl.SSLWantReadError):  # until the other side has answered
                    step()
            server.write(b"!")
            return client.read(1) == b"!"
        except ssl.SSLError:
            return False
