"""The manifests render, hang together, and ask for no more than they need."""

import re
from pathlib import Path

import pytest
import yaml

from extender.serve import SHUTDOWN_SECONDS
from extender.settings import Settings
from tests.manifests.files import BASE, REPOSITORY, Manifest, containers, overlay, pod_specs, render, scheduler_config

YAML_FILES = sorted([*(REPOSITORY / "manifests").rglob("*.yaml"), *(REPOSITORY / "config").glob("*.yaml")])
EXAMPLES = sorted((REPOSITORY / "manifests" / "examples").glob("*.yaml"))
COMPONENTS = sorted(path.parent for path in (REPOSITORY / "manifests" / "components").glob("*/kustomization.yaml"))


def of_kind(kind: str) -> dict[str, Manifest]:
    """The base's objects of a kind, by namespace and name."""
    return {
        "/".join(filter(None, [manifest["metadata"].get("namespace"), manifest["metadata"]["name"]])): manifest
        for manifest in render(BASE)
        if manifest["kind"] == kind
    }


def scheduler_pod() -> Manifest:
    """The pod of kube-scheduler and the extender."""
    spec: Manifest = of_kind("Deployment")["gpu-scheduler/gpu-scheduler"]["spec"]["template"]["spec"]
    return spec


def agent_pod() -> Manifest:
    """The agent's pod."""
    spec: Manifest = of_kind("DaemonSet")["gpu-topology-agent/gpu-topology-agent"]["spec"]["template"]["spec"]
    return spec


@pytest.mark.parametrize("path", YAML_FILES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_file_is_yaml(path: Path) -> None:
    """Each document of it is a Kubernetes or a kustomize object."""
    documents = list(yaml.safe_load_all(path.read_text()))
    assert documents
    assert all("apiVersion" in document and "kind" in document for document in documents)


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda path: path.name)
def test_every_component_changes_the_base(component: Path, tmp_path: Path) -> None:
    """A patch whose target was renamed would otherwise be dropped in silence."""
    assert render(overlay(tmp_path, component)) != render(BASE)


def test_the_scheduler_gets_the_configuration_file_as_it_is() -> None:
    """Under the name, hash included, that the Deployment mounts."""
    [config_map] = of_kind("ConfigMap").values()
    assert yaml.safe_load(config_map["data"]["scheduler-config.yaml"]) == scheduler_config()
    [volume] = [volume for volume in scheduler_pod()["volumes"] if "configMap" in volume]
    assert volume["configMap"]["name"] == config_map["metadata"]["name"]
    assert config_map["metadata"]["namespace"] == "gpu-scheduler"


@pytest.mark.parametrize("folder", [BASE, *EXAMPLES], ids=lambda path: path.name)
def test_no_image_names_a_registry(folder: Path) -> None:
    """A first part with a dot or a colon, or `localhost`, is a host: everybody's own, set in an overlay."""
    manifests = render(folder) if folder.is_dir() else tuple(yaml.safe_load_all(folder.read_text()))
    images = [container["image"] for _, spec in pod_specs(manifests) for container in containers(spec)]
    assert images
    for image in images:
        first, slash, _ = image.partition("/")
        assert not (slash and re.search(r"[.:]|^localhost$", first)), image
        assert not image.endswith(":latest"), image
        assert ":" in image, f"{image} has no version"


@pytest.mark.parametrize("name", ["gpu-scheduler", "gpu-topology-agent"])
def test_every_container_is_shut_in(name: str) -> None:
    """No new privileges, no capabilities, no writable root, a seccomp profile, bounded memory, no limit of CPU."""
    spec = dict(pod_specs(render(BASE)))[name]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not any(spec.get(shared) for shared in ("hostNetwork", "hostPID", "hostIPC"))
    for container in containers(spec):
        context = container["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert set(container["resources"]["limits"]) == {"memory"}


def test_the_scheduler_pod_runs_without_root() -> None:
    """Neither kube-scheduler nor the extender needs it."""
    context = scheduler_pod()["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0


def test_the_agent_sees_two_folders_of_its_host_and_cannot_write_there() -> None:
    """The kubelet's PodResources socket, and sysfs for NUMA nodes and network cards, are all that it needs."""
    spec = agent_pod()
    paths = [volume["hostPath"]["path"] for volume in spec["volumes"]]
    assert paths == ["/var/lib/kubelet/pod-resources", "/sys"]
    assert all(mount["readOnly"] for container in containers(spec) for mount in container["volumeMounts"])


def test_the_agent_runs_on_tainted_gpu_nodes_and_on_no_others() -> None:
    """By the label and the taint that NVIDIA recommends."""
    spec = agent_pod()
    assert spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists"} in spec["tolerations"]


def test_the_scheduler_survives_the_loss_of_a_node_or_a_zone_and_the_drain_of_one() -> None:
    """Two replicas, apart where that is possible, of which one at most is evicted, and one leads."""
    deployment = of_kind("Deployment")["gpu-scheduler/gpu-scheduler"]["spec"]
    labels = deployment["selector"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0}
    [spread] = scheduler_pod()["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("topology.kubernetes.io/zone", "ScheduleAnyway")
    [apart] = scheduler_pod()["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    budget = of_kind("PodDisruptionBudget")["gpu-scheduler/gpu-scheduler"]["spec"]
    assert budget["maxUnavailable"] == 1
    assert spread["labelSelector"] == apart["podAffinityTerm"]["labelSelector"] == budget["selector"] == labels
    assert scheduler_config()["leaderElection"]["leaderElect"] is True


def test_there_is_time_to_answer_what_was_asked_before_the_end() -> None:
    """The extender takes up to ten seconds for that after SIGTERM."""
    assert scheduler_pod()["terminationGracePeriodSeconds"] > SHUTDOWN_SECONDS


@pytest.mark.parametrize("name", ["gpu-scheduler", "gpu-topology-agent"])
def test_the_pods_are_not_evicted_for_others(name: str) -> None:
    """Whoever waits for a GPU waits for them first."""
    assert dict(pod_specs(render(BASE)))[name]["priorityClassName"].startswith("system-")


def test_every_container_that_serves_is_probed() -> None:
    """The agent serves nobody: its lease tells whether it lives."""
    for container in containers(scheduler_pod()):
        ports = {port["name"] for port in container["ports"]}
        assert {
            container[f"{probe}Probe"]["httpGet"]["port"] for probe in ("startup", "readiness", "liveness")
        } == ports
    assert not any("ports" in container for container in containers(agent_pod()))


def test_nobody_may_connect_to_the_pods_but_for_probes_and_metrics() -> None:
    """The ports that the policies open are those that the pod names; the agent has none."""
    policies = {name: policy["spec"] for name, policy in of_kind("NetworkPolicy").items()}
    for namespace in ("gpu-scheduler", "gpu-topology-agent"):
        assert policies.pop(f"{namespace}/no-ingress") == {"podSelector": {}, "policyTypes": ["Ingress"]}
    [policy] = policies.values()
    assert policy["podSelector"] == of_kind("Deployment")["gpu-scheduler/gpu-scheduler"]["spec"]["selector"]
    assert opened(policy) == {
        port["containerPort"] for container in containers(scheduler_pod()) for port in container["ports"]
    }


def test_prometheus_finds_every_replica() -> None:
    """By a headless Service with the ports that the network policy opens."""
    service = of_kind("Service")["gpu-scheduler/gpu-scheduler-metrics"]["spec"]
    assert service["clusterIP"] == "None"
    deployment = of_kind("Deployment")["gpu-scheduler/gpu-scheduler"]
    assert service["selector"] == deployment["spec"]["selector"]["matchLabels"]
    policy = of_kind("NetworkPolicy")["gpu-scheduler/gpu-scheduler"]["spec"]
    assert {port["port"] for port in service["ports"]} == opened(policy)


def opened(policy: Manifest) -> set[int]:
    """The ports that a network policy opens to anybody."""
    return {port["port"] for rule in policy["ingress"] if "from" not in rule for port in rule["ports"]}


def test_the_extender_is_ready_before_kube_scheduler_starts() -> None:
    """It is a sidecar whose start-up probe asks for readiness."""
    [extender] = scheduler_pod()["initContainers"]
    assert extender["restartPolicy"] == "Always"
    assert extender["startupProbe"]["httpGet"]["path"] == "/readyz"


def test_kube_scheduler_and_the_extender_agree_on_where_the_verbs_are() -> None:
    """The configuration names the extender's default address."""
    defaults = Settings()
    [extender] = scheduler_config()["extenders"]
    assert extender["urlPrefix"] == f"http://{defaults.verbs_host}:{defaults.verbs_port}"


def test_only_the_extenders_probes_are_a_port_of_the_pod() -> None:
    """The verbs are for loopback."""
    [extender] = scheduler_pod()["initContainers"]
    assert [port["containerPort"] for port in extender["ports"]] == [Settings().probes_port]


def test_the_extender_is_somebody_else_than_the_scheduler() -> None:
    """It finds the token of its own service account where it would find that of the pod."""
    spec = scheduler_pod()
    assert spec["serviceAccountName"] == "scheduler"
    [extender] = spec["initContainers"]
    mounted = {mount["mountPath"]: mount["name"] for mount in extender["volumeMounts"]}
    volume = mounted["/var/run/secrets/kubernetes.io/serviceaccount"]
    [secret_name] = [entry["secret"]["secretName"] for entry in spec["volumes"] if entry["name"] == volume]
    secret = of_kind("Secret")[f"gpu-scheduler/{secret_name}"]
    assert secret["type"] == "kubernetes.io/service-account-token"
    assert secret["metadata"]["annotations"]["kubernetes.io/service-account.name"] == "extender"


def test_every_binding_is_of_a_service_account_that_exists() -> None:
    """The API server would accept it all the same, and nobody would get the rights."""
    accounts = of_kind("ServiceAccount")
    bindings = [*of_kind("ClusterRoleBinding").values(), *of_kind("RoleBinding").values()]
    assert bindings
    for binding in bindings:
        for subject in binding["subjects"]:
            assert f"{subject['namespace']}/{subject['name']}" in accounts


def test_every_admission_policy_is_in_force_and_refuses_what_it_cannot_judge() -> None:
    """A policy without a binding does nothing, and says nothing of it."""
    policies = of_kind("ValidatingAdmissionPolicy")
    bindings = [binding["spec"] for binding in of_kind("ValidatingAdmissionPolicyBinding").values()]
    assert {binding["policyName"] for binding in bindings} == set(policies)
    assert all(binding == {"policyName": binding["policyName"], "validationActions": ["Deny"]} for binding in bindings)
    assert {policy["spec"]["failurePolicy"] for policy in policies.values()} == {"Fail"}


def test_the_policies_name_accounts_that_exist() -> None:
    """Under another name the agents would be free of them, or the extender bound by them."""
    accounts = {f"system:serviceaccount:{account.replace('/', ':')}" for account in of_kind("ServiceAccount")}
    text = yaml.safe_dump_all(of_kind("ValidatingAdmissionPolicy").values(), width=1000)
    assert set(re.findall(r"system:serviceaccount:[a-z-]+:[a-z-]+", text)) == accounts - {
        "system:serviceaccount:gpu-scheduler:scheduler"
    }


def test_no_role_holds_a_wildcard() -> None:
    """Every right is spelled out."""
    rules = [rule for kind in ("ClusterRole", "Role") for role in of_kind(kind).values() for rule in role["rules"]]
    assert rules
    assert not [rule for rule in rules if "*" in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_asks_our_scheduler(path: Path) -> None:
    """An example that asks the default one shows nothing."""
    specs = dict(pod_specs(tuple(yaml.safe_load_all(path.read_text()))))
    assert specs
    assert {spec["schedulerName"] for spec in specs.values()} == {"gpu-scheduler"}
