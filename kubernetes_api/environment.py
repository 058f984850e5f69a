"""What a connection takes from the environment of its process."""

from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kubernetes.aio.client.configuration import Configuration


def settle_environment(configuration: Configuration) -> None:
    """Look once for a proxy in the environment, and for credentials of other programs (.netrc) not at all.

    aiohttp would do both anew for each request, each in a thread: twice the time that the request itself takes.
    """
    host = urlsplit(configuration.host)
    if configuration.proxy is None and not proxy_bypass(host.hostname or ""):
        configuration.proxy = getproxies().get(host.scheme)
    configuration.client_session_kwargs = {"trust_env": False}
