"""The settings of `python -m extender`: command-line options, or environment variables, or the defaults below."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, FilePath, ValidationError, model_validator
from pydantic_settings import BaseSettings, CliApp, SettingsConfigDict
from pydantic_settings import SettingsError as CommandLineError

from extender.failures import FAILURES_PER_NODE
from extender.tls import CertificateFiles
from gpu_topology.errors import SettingsError
from gpu_topology.placement.models import readable

Address = IPv4Address | IPv6Address
Port = Annotated[int, Field(ge=0, le=65535)]
Candidates = Annotated[int, Field(ge=0, le=100_000)]


class Settings(BaseSettings):
    """Each setting is an option (`--verbs-port 8888`) and a variable (`GPU_SCHEDULER_VERBS_PORT=8888`).

    The option wins. No setting is called plain `port`: a Service named `gpu-scheduler` would make Kubernetes set
    `GPU_SCHEDULER_PORT` to a URL in every pod of its namespace.
    """

    model_config = SettingsConfigDict(
        env_prefix="GPU_SCHEDULER_",
        cli_prog_name="python -m extender",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_implicit_flags=True,
        use_attribute_docstrings=True,
        frozen=True,
        extra="ignore",
    )

    verbs_host: Address = IPv4Address("127.0.0.1")
    """IP address on which filter and prioritize are served. Loopback, because kube-scheduler runs in the same pod and
    nobody else has any business there."""

    verbs_port: Port = 8888
    """TCP port of filter and prioritize. 0 takes any free port; the log says which."""

    probes_host: Address = IPv4Address("0.0.0.0")  # noqa: S104  the kubelet and Prometheus call from outside the pod
    """IP address on which /healthz, /readyz and /metrics are served. All addresses, because the kubelet and Prometheus
    call from outside the pod."""

    probes_port: Port = 8889
    """TCP port of /healthz, /readyz and /metrics. 0 takes any free port; the log says which."""

    page_port: Port | None = None
    """TCP port of the page that shows the cluster to people, with the data behind it. Without it there is none. 0 takes
    any free port; the log says which. It takes --page-token-file: see docs/page.md."""

    page_host: Address = IPv4Address("127.0.0.1")
    """IP address of the page. Loopback is enough for `kubectl port-forward`; a Service needs 0.0.0.0. It speaks plain
    HTTP: whatever makes it reachable from outside of the cluster has to add TLS."""

    page_token_file: FilePath | None = None
    """File with the token that people have to show to see the page's data. It is read anew for every request, so that
    it can be replaced."""

    tls_certificate: FilePath | None = None
    """PEM file with the certificate of the verbs' listener, which then speaks HTTPS alone. With --tls-key and
    --tls-client-ca, for an extender that does not share kube-scheduler's pod. The three files are looked at every 5
    seconds, and taken up when they have changed."""

    tls_key: FilePath | None = None
    """PEM file with its private key, not encrypted."""

    tls_client_ca: FilePath | None = None
    """PEM file with the CAs of clients: who shows no certificate of theirs is refused. Whoever has one may have pods
    bound, so they should have signed no other client's certificate than kube-scheduler's."""

    kubeconfig: FilePath | None = None
    """File with the API server's address and credentials. Without it: the pod's service account, or outside of a
    cluster the default kubeconfig."""

    max_candidates: Candidates = 20
    """Nodes: how many of those that can serve a pod filter passes on, the best ones. 0 passes on all. The size of the
    answers is what an extender costs: kube-scheduler scores every node that it gets back, and by default looks at a
    sample of 10 % of 5,000 nodes itself."""

    max_candidates_with_preferences: Candidates = 100
    """Nodes: the same for pods that prefer some nodes themselves (a preferred affinity, a topology spread constraint
    with ScheduleAnyway), since preferences choose among these nodes only. Never fewer than for other pods."""

    bind: bool = False
    """Serve /bind as well, for a kube-scheduler that is configured with bindVerb: the GPUs are then chosen for good
    when the pod is bound, and recorded on it. It takes further rights, and an admission policy that keeps others from
    writing such records, which are trusted from then on: see docs/binding.md."""

    max_request_mib: Annotated[int, Field(ge=1, le=4096)] = 64
    """MiB: the largest request that is read. 5,000 node names are 0.2 MiB; 5,000 whole nodes, which kube-scheduler
    sends under `nodeCacheCapable: false`, are about 50."""

    failing_nodes: Annotated[int, Field(ge=0, le=FAILURES_PER_NODE)] = 5
    """After how many failures of GPU pods within 10 minutes a node is left out for a while: pods that the kubelet
    refuses, and pods of several owners that end with an error within 30 seconds. Half as many put it behind all other
    nodes. 0 turns it off."""

    failing_nodes_pause_seconds: Annotated[int, Field(ge=1, le=86_400)] = 900
    """Seconds: how long such a node is left out the first time. Each time that it fails again when it is tried
    afterwards it is left out for twice as long, up to eight times."""

    pod_events: bool = True
    """Write events about pods that ask for GPUs: why one waits, and what a pod of several GPUs got. At most 10 a
    second."""

    evict_on_gpu_loss: bool = False
    """Evict pods that hold a lost GPU and have the annotation gpu-scheduler/on-gpu-loss: evict, while the scheduler
    beside leads. It takes further rights: see docs/recovery.md."""

    gpu_loss_seconds: Annotated[int, Field(ge=1, le=86_400)] = 30
    """Seconds: how long the loss of a GPU must have been reported without a break before a pod is evicted for it."""

    evictions_per_minute: Annotated[int, Field(ge=1, le=1000)] = 10
    """The most pods that are evicted for lost GPUs within a minute, over the whole cluster."""

    agent_namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = "gpu-topology-agent"
    """The namespace of the agents' leases, which tell whether an agent lives: on the word of one that may not, nobody
    is evicted."""

    worth_model: Annotated[str, AfterValidator(readable)] = "ring"
    """How the worth of a set of GPUs is computed. ring: the bandwidth of the slowest link in the best ring through the
    set. effbw: a regression on measurements, for machines with single and double NVLinks; nodes that it does not fit
    count as of unknown topology. Classes of machines may have another one: `ring,nvlink-mesh=effbw`; the classes are
    those of the label gpu-scheduler/interconnect."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe events that are logged. Every decision is one line at info."""

    log_format: Literal["json", "console"] = "json"
    """json: one object a line, for a log collector. console: aligned text, for a person."""

    @property
    def certificates(self) -> CertificateFiles | None:
        """Where the certificates are; None where the verbs are served without TLS."""
        if self.tls_certificate is None or self.tls_key is None or self.tls_client_ca is None:
            return None
        return CertificateFiles(self.tls_certificate, self.tls_key, self.tls_client_ca)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        given = [file is not None for file in (self.tls_certificate, self.tls_key, self.tls_client_ca)]
        if any(given) and not all(given):
            raise ValueError("give all of --tls-certificate, --tls-key and --tls-client-ca, or none of them")
        return self


def read_settings(arguments: Sequence[str]) -> Settings:
    """The settings that the command line and the environment give.

    Args:
        arguments: the command line without the program's name. `--help` prints and exits.

    Raises:
        SettingsError: an option is unknown, or a value cannot be used; the message names it.
    """
    try:
        return CliApp.run(Settings, cli_args=list(arguments), cli_exit_on_error=False)
    except CommandLineError as error:
        raise SettingsError(" ".join(str(error).split())) from error
    except OSError as error:  # of a name that no file can have
        raise SettingsError(f"{str(error.filename)[:80]!r} cannot be looked at: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:  # several settings do not go together
            raise SettingsError(first["msg"].removeprefix("Value error, ")) from error
        name = str(first["loc"][0]).replace("-", "_")
        option, variable = f"--{name.replace('_', '-')}", f"GPU_SCHEDULER_{name.upper()}"
        raise SettingsError(f"{option} or {variable} is {first['input']!r}: {first['msg']}") from error
