"""config/scheduler-config.yaml says what the extender and the project's promises need."""

import pytest
import yaml

from gpu_topology.placement.rank import LEFTOVER_SPAN, WORTH_GAP
from tests.manifests.files import REPOSITORY, Manifest, scheduler_config

POINT = 10
"""What one point of an extender adds to a node's total at weight 1: MaxNodeScore / MaxExtenderPriority."""
SPREADING = {"NodeResourcesFit": 100, "NodeResourcesBalancedAllocation": 50, "PodTopologySpread": 200}
"""The most by which kube-scheduler's own spreading can tell two nodes apart, at default weights."""
PREFERRED_AFFINITY = 200
"""What a node that satisfies a pod's only preferred affinity has ahead of one that does not."""


@pytest.fixture
def extender() -> Manifest:
    """The only extender of the configuration."""
    [extender] = scheduler_config()["extenders"]
    assert isinstance(extender, dict)
    return extender


def test_it_is_of_the_current_api_version() -> None:
    """The beta versions are gone from kube-scheduler."""
    config = scheduler_config()
    assert (config["apiVersion"], config["kind"]) == (
        "kubescheduler.config.k8s.io/v1",
        "KubeSchedulerConfiguration",
    )


def test_it_serves_the_pods_that_name_gpu_scheduler_and_looks_at_every_node() -> None:
    """A sample may miss the only node with linked GPUs."""
    config = scheduler_config()
    assert [profile["schedulerName"] for profile in config["profiles"]] == ["gpu-scheduler"]
    assert config["percentageOfNodesToScore"] == 100


def test_its_own_limit_of_requests_is_far_above_the_pods_that_it_can_bind() -> None:
    """By default it is 50 a second; `python -m benchmarks throughput` measures up to 170 pods a second."""
    limits = scheduler_config()["clientConnection"]
    assert limits["qps"] >= 300
    assert limits["burst"] >= limits["qps"]


def test_it_does_not_compete_for_the_lease_of_the_default_scheduler() -> None:
    """Two schedulers with one lease would take turns, each with half of the pods."""
    election = scheduler_config()["leaderElection"]
    assert election["leaderElect"] is True
    assert (election["resourceNamespace"], election["resourceName"]) == ("gpu-scheduler", "gpu-scheduler")


def test_the_extender_filters_prioritizes_and_checks_evictions_and_leaves_binding_to_the_scheduler(
    extender: Manifest,
) -> None:
    """The GPUs are the node's to choose, so there is nothing to record when a pod is bound."""
    verbs = [extender[f"{verb}Verb"] for verb in ("filter", "prioritize", "preempt")]
    assert verbs == ["filter", "prioritize", "preempt"]
    assert "bindVerb" not in extender


def test_the_bind_component_changes_nothing_but_the_bind_verb() -> None:
    """Kustomize cannot change a line of a file, so the component has a copy."""
    copy = component_config("bind")
    assert copy["extenders"][0].pop("bindVerb") == "bind"
    assert copy == scheduler_config()


@pytest.mark.parametrize(("component", "without_tls"), [("mutual-tls", None), ("mutual-tls-bind", "bind")])
def test_mutual_tls_changes_nothing_but_where_the_extender_is_and_whom_to_believe(
    component: str, without_tls: str | None
) -> None:
    """With a CA: without one kube-scheduler would take any certificate for the extender's."""
    copy = component_config(component)
    plain = component_config(without_tls) if without_tls else scheduler_config()
    [extender] = copy["extenders"]
    [of_plain] = plain["extenders"]
    assert extender.pop("tlsConfig") == {
        "caFile": "/etc/tls/ca.crt",
        "certFile": "/etc/tls/tls.crt",
        "keyFile": "/etc/tls/tls.key",
    }
    assert (extender.pop("enableHTTPS"), of_plain.pop("enableHTTPS")) == (True, False)
    assert extender.pop("urlPrefix") == "https://gpu-scheduler-extender.gpu-scheduler.svc:8888"
    assert of_plain.pop("urlPrefix") == "http://127.0.0.1:8888"
    assert copy == plain


def component_config(component: str) -> Manifest:
    """The scheduler configuration that a component brings."""
    [path] = (REPOSITORY / "manifests" / "components" / component).rglob("scheduler-config.yaml")
    config: Manifest = yaml.safe_load(path.read_text())
    return config


def test_scores_see_the_pods_of_a_node_and_no_pod_is_placed_blindly(extender: Manifest) -> None:
    """The two settings whose other value would be quietly wrong."""
    assert extender["nodeCacheCapable"] is True
    assert extender["ignorable"] is False


def test_a_better_set_outvotes_all_spreading_together(extender: Manifest) -> None:
    """What a pod gets counts more than how evenly nodes are filled."""
    assert WORTH_GAP * POINT * extender["weight"] > sum(SPREADING.values())


def test_a_leftover_alone_never_outvotes_a_preferred_affinity(extender: Manifest) -> None:
    """What later pods may need counts less than what this one asks for."""
    assert LEFTOVER_SPAN * POINT * extender["weight"] < PREFERRED_AFFINITY


def test_only_gpu_pods_are_sent_to_the_extender_and_the_scheduler_still_counts_their_gpus(
    extender: Manifest,
) -> None:
    """The extender's own pod asks for none, so it can be scheduled while the extender is down."""
    resources = extender["managedResources"]
    names = [resource["name"] for resource in resources]
    assert {"nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.10gb"} <= set(names)
    assert len(names) == len(set(names))
    assert all(name.startswith("nvidia.com/") for name in names)
    assert all(resource["ignoredByScheduler"] is False for resource in resources)
