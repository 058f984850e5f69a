"""The token that whoever looks at the page has to show."""

import hashlib
import hmac
from pathlib import Path
from typing import Final

from gpu_topology.errors import SettingsError

SHORTEST_TOKEN: Final = 16
"""Characters: a shorter one could be guessed by trying."""
LONGEST_TOKEN: Final = 4096
"""Bytes that are read of the file."""
_SCHEME: Final = "bearer"


class PageToken:
    """A token in a file, read anew whenever it is asked for: Kubernetes replaces the file when the Secret changes.

    Args:
        file: holds nothing but the token; white space around it does not count.

    Raises:
        SettingsError: there is no usable token in it.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read()

    def admits(self, authorization: str) -> bool:
        """Whether an HTTP Authorization header shows the token: "Bearer <token>".

        Raises:
            SettingsError: the file has no usable token any more.
        """
        scheme, _, shown = authorization.partition(" ")
        # Compared by their hashes, so that the time that it takes tells not even how long the token is.
        same = hmac.compare_digest(_hash(shown.strip()), _hash(self._read()))
        return same and scheme.lower() == _SCHEME

    def _read(self) -> str:
        try:
            with self._file.open("rb") as opened:
                token = opened.read(LONGEST_TOKEN).decode("ascii").strip()
        except OSError as error:
            raise SettingsError(f"the token file {self._file} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"the token file {self._file} holds something else than ASCII") from error
        if len(token) < SHORTEST_TOKEN:
            raise SettingsError(f"the token in {self._file} has fewer than {SHORTEST_TOKEN} characters")
        return token


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
