"""The running extender: the API server on one side, kube-scheduler, kubelet and Prometheus on the other."""

import asyncio
import signal
import socket
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from typing import Final, NamedTuple, Protocol

import structlog
import uvicorn
from prometheus_client import disable_created_metrics
from starlette.types import ASGIApp

from extender.app import create_page_app, create_probes_app, create_verbs_app
from extender.bind import Binder
from extender.connections import KEEP_ALIVE_SECONDS
from extender.dra import DeviceClasses
from extender.evicting import Evictor
from extender.failing import Departures, FailingNodes
from extender.feeds import Feeds, NodeFeed, PodFeed, trimmed_node, trimmed_pod
from extender.gauges import watch_certificates, watch_evictions, watch_pod_events, watch_reflectors
from extender.gpu_loss import LossBook
from extender.leadership import Leadership
from extender.ledger import Ledger
from extender.node_events import NodeEvents
from extender.page_token import PageToken
from extender.pod_events import PodEvents
from extender.pod_story import NOBODY
from extender.preferences import CandidateLimits
from extender.service import MIB, Service
from extender.settings import Address, Settings
from extender.tls import Certificates, Renewal
from extender.transport import OnePieceProtocol
from gpu_topology.errors import SettingsError
from gpu_topology.placement import WorthModels
from kubernetes_api import Cluster, Handler, Reflector, Resource

SHUTDOWN_SECONDS: Final = 10
"""How long requests in flight may take to finish after SIGTERM; each takes milliseconds."""


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then finish the requests in flight and return.

    Raises:
        SettingsError: an address cannot be listened on, a certificate or the page's token cannot be used, or there are
            no usable credentials for the API server.
    """
    log = structlog.get_logger("extender")
    disable_created_metrics()  # type: ignore[no-untyped-call]  # as the library has it; they double what is read
    certificates = Certificates(settings.certificates) if settings.certificates else None
    stop = _stop_on_signals()
    with ExitStack() as sockets:
        verbs = sockets.enter_context(_listen("verbs", settings.verbs_host, settings.verbs_port))
        probes = sockets.enter_context(_listen("probes", settings.probes_host, settings.probes_port))
        page = _open_page(settings, sockets)
        async with await Cluster.connect(settings.kubeconfig) as cluster:
            ledger = Ledger(WorthModels.parse(settings.worth_model), trusts_records=settings.bind)
            binder = Binder(ledger, cluster) if settings.bind else None
            events = NodeEvents(cluster)
            failing = _failing(settings, ledger, events)
            node_feed: Handler = NodeFeed(ledger)
            reflectors: dict[str, Reflector] = {}
            pod_events = PodEvents(cluster, socket.gethostname())
            service = _service(
                settings, ledger, reflectors=reflectors, failing=failing, binder=binder, pod_events=pod_events
            )
            pod_feed: Handler = Feeds(PodFeed(ledger), service.arrivals)
            if settings.failing_nodes:
                node_feed, pod_feed = Feeds(node_feed, Departures(failing)), Feeds(pod_feed, failing)
            evictor = _evictor(settings, ledger, cluster, events)
            if settings.evict_on_gpu_loss:
                pod_feed = Feeds(pod_feed, evictor)
            reflectors |= {
                "nodes": Reflector(cluster, Resource.NODES, node_feed, trim=trimmed_node),
                "pods": Reflector(cluster, Resource.PODS, pod_feed, field_selector="spec.nodeName!=", trim=trimmed_pod),
            }
            classes = DeviceClasses(ledger.serve_by_dra)
            reflectors["deviceclasses"] = Reflector(cluster, Resource.DEVICE_CLASSES, classes, is_optional=True)
            watch_evictions(service.metrics, evictor)
            servers = [
                _Server(create_verbs_app(service), verbs, certificates),
                _Server(create_probes_app(service), probes),
            ]
            if page is not None:
                servers.append(_Server(create_page_app(service, page.token), page.listener))
            background: list[_Background] = [*reflectors.values(), failing, events, pod_events]
            if settings.evict_on_gpu_loss:
                background.append(evictor)
            if certificates is not None:
                background.append(Renewal(certificates, then=servers[0].hang_up))
                watch_certificates(service.metrics, certificates)
            elif not settings.verbs_host.is_loopback:
                log.warning(
                    "whoever reaches the verbs may ask: they are beyond loopback, without TLS", verbs=_url(verbs)
                )
            log.info(
                "listening",
                verbs=_url(verbs, "https" if certificates else "http"),
                probes=_url(probes),
                page=_url(page.listener) if page else None,
            )
            await _run(servers, background, stop)
            if binder is not None:
                await binder.close()
    log.info("stopped")


def _stop_on_signals() -> asyncio.Event:
    """An event that is set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


class _Page(NamedTuple):
    listener: socket.socket
    token: PageToken


def _open_page(settings: Settings, sockets: ExitStack) -> _Page | None:
    """The page's socket and token; None where there is to be no page."""
    if settings.page_port is None:
        return None
    if settings.page_token_file is None:
        raise SettingsError("--page-port takes --page-token-file too: nobody sees the page without a token")
    token = PageToken(settings.page_token_file)
    return _Page(sockets.enter_context(_listen("page", settings.page_host, settings.page_port)), token)


def _failing(settings: Settings, ledger: Ledger, events: NodeEvents) -> FailingNodes:
    pause = timedelta(seconds=settings.failing_nodes_pause_seconds)
    return FailingNodes(ledger, settings.failing_nodes, pause, tell=events.tell)


def _evictor(settings: Settings, ledger: Ledger, cluster: Cluster, events: NodeEvents) -> Evictor:
    """It evicts nobody unless it runs and is told of pods; what it has counted is shown in any case."""
    return Evictor(
        ledger,
        cluster,
        LossBook(timedelta(seconds=settings.gpu_loss_seconds), settings.evictions_per_minute),
        Leadership(cluster, socket.gethostname()),
        tell=events.tell,
        agent_namespace=settings.agent_namespace,
    )


def _service(  # noqa: PLR0913  what the process has made, by name
    settings: Settings,
    ledger: Ledger,
    *,
    reflectors: Mapping[str, Reflector],
    failing: FailingNodes,
    binder: Binder | None,
    pod_events: PodEvents,
) -> Service:
    def waiting_for() -> str | None:
        missing = [name for name, reflector in reflectors.items() if not reflector.synced]
        return f"the API server's list of {_listed(missing)}" if missing else None

    service = Service(
        ledger,
        binder=binder,
        limits=CandidateLimits(settings.max_candidates, settings.max_candidates_with_preferences),
        max_request_bytes=settings.max_request_mib * MIB,
        waiting_for=waiting_for,
        failing=failing,
        teller=pod_events if settings.pod_events else NOBODY,
    )
    watch_reflectors(service.metrics, reflectors)
    watch_pod_events(service.metrics, pod_events)
    service.metrics.describe(_version())
    return service


def _version() -> str:
    """This program's, or "unknown" where it runs without having been installed."""
    try:
        return version("gpu-topology-scheduler")
    except PackageNotFoundError:
        return "unknown"


class _Background(Protocol):
    """Something that works beside the servers until it is cancelled."""

    async def run(self) -> None:
        """Work."""


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


async def _run(servers: "list[_Server]", background: Sequence[_Background], stop: asyncio.Event) -> None:
    """Run until told to stop, or until something ends that should not: then its error ends everything."""
    log = structlog.get_logger("extender")
    async with asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(each.run()) for each in background]
        for server in servers:
            tasks.create_task(server.serve())
        await stop.wait()
        log.info("stopping")
        for server in servers:
            server.should_exit = True
        for task in working:
            task.cancel()


class _Server(uvicorn.Server):
    """A server on one open socket, which leaves the process's signals alone: there are several servers."""

    def __init__(self, app: ASGIApp, listener: socket.socket, certificates: Certificates | None = None) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=OnePieceProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=SHUTDOWN_SECONDS,
                ssl_context_factory=(lambda *_: certificates.context) if certificates else None,
            )
        )
        self._listener = listener

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await super().serve(sockets or [self._listener])

    def hang_up(self) -> None:
        """End each connection once its request is answered: what a client was let in by may not hold any more."""
        for connection in tuple(self.server_state.connections):
            connection.shutdown()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _listen(name: str, host: Address, port: int) -> socket.socket:
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6  # noqa: PLR2004  the protocol's own number
    try:
        return socket.create_server((str(host), port), family=family)
    except OSError as error:
        raise SettingsError(f"{name}: cannot listen on {host}, port {port}: {error.strerror}") from error


def _url(listener: socket.socket, scheme: str = "http") -> str:
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{scheme}://{host}:{port}"
