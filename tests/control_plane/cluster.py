"""A real control plane in a folder of its own: etcd, kube-apiserver, and what is asked for of the other programs."""

import ssl
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from tests.control_plane.binaries import NEWEST, binary
from tests.control_plane.certificates import CertificateAuthority, KeyPair, write_signing_key
from tests.control_plane.client import Client
from tests.control_plane.kubeconfig import write_kubeconfig
from tests.control_plane.ports import LOOPBACK, free_ports
from tests.control_plane.processes import ChildProcess

ADMIN = "admin"
ADMIN_GROUP = "system:masters"
SCHEDULER_USER = "system:kube-scheduler"
OPEN_PATHS = "/healthz,/livez,/readyz,/metrics"
"""What scheduler and controllers answer to everybody."""

NEEDS_CONTROLLERS = ("ServiceAccount", "TaintNodesByCondition")
"""Admission plugins that count on controllers which a ControlPlane does not run.

ServiceAccount refuses every pod until a controller has made the namespace's `default` account. TaintNodesByCondition
taints each new node as not ready until a controller has seen its Ready condition and takes the taint away.
"""

SERVER_NAMES = (LOOPBACK, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "10.0.0.1")
SERVICE_ADDRESSES = "10.0.0.0/24"


class ControlPlane:
    """A running etcd and kube-apiserver; a context manager that ends everything it has started.

    Attributes:
        folder: Holds all of its files: data, certificates, kubeconfigs, and the logs `<name>.log`.
        server: The API server's URL, which stays the same over restarts.
        etcd: The etcd process. Its data survives `kill` and `start`.
        apiserver: The kube-apiserver process.
        client: The admin's client.
        trust: What a client checks the certificates of kube-apiserver and kube-scheduler by.

    Args:
        folder: Empty or not there yet.
        disabled_admission: Admission plugins to switch off, of those that are on by default.
        apiserver_arguments: Further flags of kube-apiserver.
        minor: The minor version of Kubernetes, of those in `binaries.FOLDERS`.

    Raises:
        GoError: A program has to be built and cannot be.
        ProcessError: On entering: a program does not become ready.
    """

    def __init__(
        self,
        folder: Path,
        *,
        disabled_admission: Sequence[str] = NEEDS_CONTROLLERS,
        apiserver_arguments: Sequence[str] = (),
        minor: str = NEWEST,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._minor = minor
        self._authority = CertificateAuthority(folder / "certificates")
        self.trust = ssl.create_default_context(cafile=self._authority.certificate)
        self._serving = self._authority.issue("serving", "kube-apiserver", hosts=SERVER_NAMES)
        self._users: dict[tuple[str, tuple[str, ...]], KeyPair] = {}
        etcd_port, peer_port, self._port = free_ports(3)
        self.server = f"https://{LOOPBACK}:{self._port}"
        self.client = self.client_of(ADMIN, [ADMIN_GROUP])
        self.etcd = self._etcd(f"http://{LOOPBACK}:{etcd_port}", f"http://{LOOPBACK}:{peer_port}")
        self.apiserver = self._apiserver(f"http://{LOOPBACK}:{etcd_port}", disabled_admission, apiserver_arguments)
        self._running = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as starting:
            starting.enter_context(self.client)
            starting.enter_context(self.etcd)
            starting.enter_context(self.apiserver)
            self._running = starting.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def kubeconfig(self, user: str = ADMIN, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig for a user with these groups; the user comes into being by being named.

        The user `admin` is in the group `system:masters`, which may do everything. What others may do, RBAC says.
        """
        groups = (ADMIN_GROUP, *groups) if user == ADMIN else tuple(groups)
        identity = self._identity(user, groups)
        path = identity.certificate.with_suffix(".kubeconfig")
        credentials = {"client-certificate": str(identity.certificate), "client-key": str(identity.key)}
        return self._write_kubeconfig(path, credentials)

    def client_of(self, user: str, groups: Sequence[str] = ()) -> Client:
        """A client for a user with these groups; to be closed by the caller."""
        return Client(self.server, self._authority.certificate, self._identity(user, tuple(groups)))

    def service_account_kubeconfig(self, namespace: str, name: str, *, pod: str | None = None) -> Path:
        """A kubeconfig for an existing service account, with a fresh token, bound to a pod of that account if given."""
        path = self.folder / "certificates" / f"{'.'.join(filter(None, (namespace, name, pod)))}.kubeconfig"
        return self._write_kubeconfig(path, {"token": self.client.service_account_token(namespace, name, pod=pod)})

    def start_scheduler(
        self,
        configuration: Path | Mapping[str, Any] | None = None,
        *,
        kubeconfig: Path | None = None,
        name: str = "kube-scheduler",
        arguments: Sequence[str] = (),
        port: int | None = None,
    ) -> ChildProcess:
        """Start a real kube-scheduler and wait until its caches have synced.

        It ends with the control plane, or before that with `stop`, or as a context manager.

        Args:
            configuration: A KubeSchedulerConfiguration, or a YAML file with one; None for the default profile. Its
                `clientConnection.kubeconfig` is set here. There is no leader election unless it says so.
            kubeconfig: Whom the scheduler is; None for `system:kube-scheduler`, which RBAC knows.
            name: Its name in errors, and of its configuration and log.
            arguments: Further flags.
            port: Where it serves /metrics, over TLS; None for any free port.

        Raises:
            ProcessError: It does not become ready.
            GoError: It cannot be built.
        """
        kubeconfig = kubeconfig or self.kubeconfig(SCHEDULER_USER)
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(_scheduler_configuration(configuration, kubeconfig)))
        return self._running.enter_context(self._scheduler(name, path, arguments, port or free_ports(1)[0]))

    def start_controller_manager(self, controllers: Sequence[str]) -> ChildProcess:
        """Start a real kube-controller-manager with these of its controllers, and wait until it serves.

        It ends as a scheduler does. Those that watch over nodes do not belong here: a node without a kubelet renews no
        lease, and its pods would be evicted.

        Args:
            controllers: Their names, as `kube-controller-manager --help` lists them.

        Raises:
            ProcessError: It does not become ready.
            GoError: It cannot be built.
        """
        [port] = free_ports(1)
        command = [
            str(binary("kube-controller-manager", self._minor)),
            f"--kubeconfig={self.kubeconfig()}",
            f"--controllers={','.join(controllers)}",
            "--leader-elect=false",
            *self._serving_on(port),
        ]
        # It has no readyz.
        return self._running.enter_context(self._served("kube-controller-manager", command, port, probe="healthz"))

    def _etcd(self, clients: str, peers: str) -> ChildProcess:
        command = [
            str(binary("etcd")),
            f"--data-dir={self.folder / 'etcd-data'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            "--unsafe-no-fsync",  # the data need not survive a crash of the machine
        ]
        return ChildProcess(
            "etcd", command, log=self.folder / "etcd.log", ready=lambda: self._is_ok(f"{clients}/readyz")
        )

    def _apiserver(self, etcd: str, disabled_admission: Sequence[str], more: Sequence[str]) -> ChildProcess:
        signing_key = self.folder / "certificates" / "service-account.key"
        write_signing_key(signing_key)
        command = [
            str(binary("kube-apiserver", self._minor)),
            f"--etcd-servers={etcd}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={self._port}",
            # It would publish the advertised address as the Service's endpoint, and a loopback address may not be one.
            "--endpoint-reconciler-type=none",
            f"--tls-cert-file={self._serving.certificate}",
            f"--tls-private-key-file={self._serving.key}",
            f"--client-ca-file={self._authority.certificate}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={signing_key}",
            f"--service-account-signing-key-file={signing_key}",
            f"--service-cluster-ip-range={SERVICE_ADDRESSES}",
            "--authorization-mode=Node,RBAC",
            f"--disable-admission-plugins={','.join(disabled_admission)}",
            "--allow-privileged=true",
            *more,
        ]
        log = self.folder / "kube-apiserver.log"
        return ChildProcess("kube-apiserver", command, log=log, ready=self.client.ready)

    def _scheduler(self, name: str, configuration: Path, arguments: Sequence[str], port: int) -> ChildProcess:
        command = [
            str(binary("kube-scheduler", self._minor)),
            f"--config={configuration}",
            *self._serving_on(port),
            *arguments,
        ]
        return self._served(name, command, port)

    def _serving_on(self, port: int) -> list[str]:
        """The flags by which a scheduler or a controller manager serves its health and metrics."""
        return [
            f"--bind-address={LOOPBACK}",
            f"--secure-port={port}",
            f"--tls-cert-file={self._serving.certificate}",
            f"--tls-private-key-file={self._serving.key}",
            "--authentication-skip-lookup=true",
            f"--authorization-always-allow-paths={OPEN_PATHS}",
        ]

    def _served(self, name: str, command: Sequence[str], port: int, *, probe: str = "readyz") -> ChildProcess:
        url = f"https://{LOOPBACK}:{port}/{probe}"
        return ChildProcess(name, command, log=self.folder / f"{name}.log", ready=lambda: self._is_ok(url))

    def _is_ok(self, url: str) -> bool:
        try:
            return httpx.get(url, verify=self.trust, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def _identity(self, user: str, groups: tuple[str, ...]) -> KeyPair:
        if (user, groups) not in self._users:
            stem = f"user-{len(self._users)}-{user.replace(':', '-')}"
            self._users[user, groups] = self._authority.issue(stem, user, groups=groups)
        return self._users[user, groups]

    def _write_kubeconfig(self, path: Path, credentials: Mapping[str, str]) -> Path:
        write_kubeconfig(path, server=self.server, authority=self._authority.certificate, credentials=credentials)
        return path


def _scheduler_configuration(given: Path | Mapping[str, Any] | None, kubeconfig: Path) -> dict[str, Any]:
    configuration = yaml.safe_load(given.read_text()) if isinstance(given, Path) else given or {}
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        **configuration,
        "clientConnection": {**configuration.get("clientConnection", {}), "kubeconfig": str(kubeconfig)},
    }
