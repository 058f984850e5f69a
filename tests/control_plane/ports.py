"""Free loopback ports."""

import random
import socket
from contextlib import ExitStack

LOOPBACK = "127.0.0.1"

LISTENING_PORTS = range(20_000, 32_768)
"""Below Linux's ephemeral ports (ip_local_port_range starts at 32,768).

A client that keeps trying to reach a stopped server on an ephemeral port is sooner or later given that very port as its
own, connects to itself, and keeps the server from coming back.
"""


def free_ports(count: int) -> list[int]:
    """Choose ports at random that nobody listens on now, all different.

    Raises:
        OSError: No such ports are left.
    """
    with ExitStack() as held:
        found: list[int] = []
        for port in random.sample(LISTENING_PORTS, len(LISTENING_PORTS)):
            if len(found) == count:
                return found
            candidate = held.enter_context(socket.socket())
            try:
                candidate.bind((LOOPBACK, port))
            except OSError:
                continue
            found.append(port)
    raise OSError(f"No {count} free loopback ports are left.")
