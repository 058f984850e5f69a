"""Puts the parts together: what runs side by side, and in which order it starts."""

import asyncio
import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from gpu_topology.errors import SourceError
from gpu_topology.placement import WorthModels
from gpu_topology.topology import NodeTopology
from kubernetes_api import Cluster, Reflector, Resource
from topology_agent.cordon import CordonWatch, cordon_of
from topology_agent.device_plugin.enforcement import Enforcement
from topology_agent.events import EventRecorder
from topology_agent.hardware import hardware_reader, simulated_nodes
from topology_agent.health import NodeHealth
from topology_agent.kubelet.client import PodResourcesClient
from topology_agent.kubelet.configuration import read_topology_manager
from topology_agent.lease import keep_lease
from topology_agent.pod_watch import follow_pods
from topology_agent.pods import PodCache
from topology_agent.publisher import Publisher
from topology_agent.real_node import RealNode
from topology_agent.report import NodeReport
from topology_agent.settings import Settings
from topology_agent.simulator import Simulator
from topology_agent.sources import nvml
from topology_agent.xid_watch import follow_xids

HARDWARE_RETRY_SECONDS: Final = 10.0
"""Until the hardware is read again after it could not be: a driver takes some seconds to start."""

_log = structlog.get_logger(__name__)


async def run(settings: Settings) -> None:
    """Do what the settings say: until cancelled, or with `once` until it is done.

    Raises:
        GpuTopologyError: what has to be there at the start is not: credentials, a dump, a machine profile; with `once`
            also the hardware, the node, the kubelet and the API server.
    """
    if settings.is_simulated:
        await _run_simulated(settings, simulated_nodes(settings))
    else:
        await _run_real(settings, str(settings.node_name))


async def _run_simulated(settings: Settings, topologies: Mapping[str, NodeTopology]) -> None:
    if settings.print:
        simulator = Simulator(topologies, _print_report, allocation=settings.allocation, seed=settings.seed)
        simulator.replaced([])
        return
    async with await Cluster.connect(settings.kubeconfig) as cluster:
        publisher = Publisher(cluster, topologies)
        simulator = Simulator(
            topologies,
            publisher.publish,
            allocation=settings.allocation,
            seed=settings.seed,
            trust_records=settings.trust_records,
        )
        if settings.once:
            await _simulate_once(cluster, publisher, simulator)
        else:
            await _simulate(settings, cluster, publisher, simulator)


async def _simulate(settings: Settings, cluster: Cluster, publisher: Publisher, simulator: Simulator) -> None:
    nodes_selector, pods_selector = _selectors(simulator.nodes)
    async with asyncio.TaskGroup() as group:
        group.create_task(Reflector(cluster, Resource.NODES, publisher, field_selector=nodes_selector).run())
        # Who holds what from before a restart has to be known before any pod is given GPUs.
        await publisher.synced.wait()
        for name in simulator.nodes:
            simulator.restore(name, publisher.present(name))
        group.create_task(Reflector(cluster, Resource.PODS, simulator, field_selector=pods_selector).run())
        group.create_task(publisher.run(settings.writers))
        group.create_task(_resync(publisher, settings.resync_seconds))


async def _simulate_once(cluster: Cluster, publisher: Publisher, simulator: Simulator) -> None:
    nodes_selector, pods_selector = _selectors(simulator.nodes)
    publisher.replaced(await _list(cluster, Resource.NODES, nodes_selector))
    for name in simulator.nodes:
        simulator.restore(name, publisher.present(name))
    simulator.replaced(await _list(cluster, Resource.PODS, pods_selector))
    await _write_once(publisher, simulator.nodes)


async def _list(cluster: Cluster, resource: Resource, field_selector: str) -> list[dict[str, Any]]:
    return [obj async for page, _ in cluster.pages(resource, field_selector=field_selector) for obj in page]


def _selectors(names: Collection[str]) -> tuple[str, str]:
    """Which nodes and which pods to watch: one node's own, or of several nodes those of the whole cluster."""
    if len(names) == 1:
        (name,) = names
        return f"metadata.name={name}", f"spec.nodeName={name}"
    return "", "spec.nodeName!="


async def _run_real(settings: Settings, name: str) -> None:
    async with PodResourcesClient(settings.pod_resources_socket) as kubelet:
        if settings.print:
            _print_report(name, await _report_once(settings, kubelet))
            return
        async with await Cluster.connect(settings.kubeconfig) as cluster:
            publisher = Publisher(cluster, [name])
            if settings.once:
                cordon = cordon_of(await cluster.get_node(name))
                publisher.publish(name, await _report_once(settings, kubelet, cordon))
                await _write_once(publisher, [name])
            else:
                await _follow(settings, name, cluster, publisher, kubelet)


async def _follow(
    settings: Settings, name: str, cluster: Cluster, publisher: Publisher, kubelet: PodResourcesClient
) -> None:
    pods = PodCache(trust_records=settings.trust_records)
    folder, models = settings.device_plugin_folder, WorthModels.parse(settings.worth_model)
    enforcement = Enforcement(pods, kubelet, folder, models) if settings.enforce else None

    def publish(report: NodeReport) -> None:
        publisher.publish(name, report)
        if enforcement is not None:
            enforcement.heard(report)

    _log_topology_manager(settings.kubelet_config)
    recorder = EventRecorder(cluster, name)
    health = NodeHealth(recorder.record)
    read_hardware = hardware_reader(settings)
    node = RealNode(read_hardware, kubelet, publish, settle_seconds=settings.settle_seconds, health=health)
    pods.tell = node.hear_of_pods
    if enforcement is not None:
        node.allocation = enforcement.allocation
    watch = CordonWatch(name, node.hear_of_cordon, publisher)
    selector, _ = _selectors([name])
    async with asyncio.TaskGroup() as group:
        group.create_task(Reflector(cluster, Resource.NODES, watch, field_selector=selector).run())
        group.create_task(recorder.run())
        group.create_task(keep_lease(cluster, settings.lease_namespace, name))
        if settings.is_nvml and settings.watch_xids:
            group.create_task(follow_xids(nvml.watch_xids, node.hear_of_xid, HARDWARE_RETRY_SECONDS))
        group.create_task(node.follow_hardware(settings.resync_seconds, HARDWARE_RETRY_SECONDS))
        group.create_task(follow_pods(cluster, name, pods))
        group.create_task(node.follow_kubelet(settings.poll_seconds))
        if enforcement is not None:
            group.create_task(enforcement.run())
        # A cordoned GPU must not be published as free for a moment: the watch has to have told of the node first.
        await publisher.synced.wait()
        group.create_task(publisher.run(settings.writers))
        group.create_task(_resync(publisher, settings.resync_seconds))


def _log_topology_manager(kubelet_config: Path | None) -> None:
    """Let the log tell how the kubelet aligns containers: the first question when a pod is refused on admission."""
    if kubelet_config is None:
        return
    try:
        manager = read_topology_manager(kubelet_config)
    except SourceError as error:
        _log.warning("the kubelet's Topology Manager is unknown", error=str(error))
    else:
        _log.info("the kubelet's Topology Manager", policy=manager.policy, scope=manager.scope)


async def _report_once(settings: Settings, kubelet: PodResourcesClient, cordon: str = "") -> NodeReport:
    """What there is to say of the real node after one look. The kubelet is taken at its word."""
    reports: list[NodeReport] = []
    node = RealNode(hardware_reader(settings), kubelet, reports.append, settle_seconds=0)
    node.hear_of_cordon(cordon)
    if not await node.look_at_hardware():
        raise SourceError(str(reports[-1].occupancy.stale))
    await node.look_at_kubelet()
    return reports[-1]


async def _resync(publisher: Publisher, every_seconds: float) -> None:
    while True:
        await asyncio.sleep(every_seconds)
        publisher.resync()


async def _write_once(publisher: Publisher, names: Iterable[str]) -> None:
    failed = [name for name in names if not await publisher.write(name)]
    if failed:
        raise SourceError(f"{len(failed)} nodes could not be written, the first of them {failed[0]}; see the log")


def _print_report(name: str, report: NodeReport) -> None:
    annotations = {key: orjson.loads(text) for key, text in report.changes({}).items()}
    sys.stdout.write(orjson.dumps({"node": name, "annotations": annotations}).decode() + "\n")
