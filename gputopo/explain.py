"""`gputopo explain`: why a pod waits, by the books of a running extender or by books made from the API server."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from extender.clock import utc_now
from extender.decisions import Decision
from extender.explain import explanation_of
from extender.pods import identity_of
from gpu_topology.errors import SourceError, WishError
from gpu_topology.request import GpuRequest, counts_of, request_of
from gputopo.access import Access, Context, Kubeconfig, Url, access_of
from gputopo.extender_client import ask
from gputopo.options import Json
from gputopo.output import gbps, gpu_list, print_json, print_lines, printable
from gputopo.waiting import said_of, short

_OUR_SCHEDULER: Final = "gpu-scheduler"


def explain(
    pod: Annotated[str, typer.Argument(metavar="NAMESPACE/POD", help="The pod that waits.", show_default=False)],
    *,
    url: Url = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Say why a pod waits: which nodes could serve it, which could not and why, and what would help."""
    access, (namespace, name) = access_of(url, kubeconfig, context), _parts(pod)
    if access.url is not None:
        explanation = ask(access.url, f"/v1/explain/{quote(namespace, safe='')}/{quote(name, safe='')}")
    else:
        explanation = asyncio.run(_from_api(access, namespace, name))
    if as_json:
        print_json(explanation)
    else:
        print_lines(map(printable, _lines(explanation)))


def _parts(pod: str) -> tuple[str, str]:
    match pod.split("/"):
        case [namespace, name] if namespace and name:
            return namespace, name
    raise typer.BadParameter(f"{pod!r} is not a namespace and a pod such as default/trainer", param_hint="'POD'")


async def _from_api(access: Access, namespace: str, name: str) -> dict[str, Any]:
    """What an extender would explain, with the `scheduler` that the pod names and what that has `said` about it.

    Raises:
        CannotAskError: the API server cannot be asked.
        SourceError: there is no such pod, or it asks for no GPU.
    """
    from gputopo.api_books import books_of  # noqa: PLC0415  it loads the Kubernetes client, for half a second

    async with books_of(access) as books:
        pod = await books.pod(namespace, name)
        if counts_of(pod).is_empty:
            raise SourceError(f"{namespace}/{name} asks for no GPU")
        explanation = explanation_of(books.ledger, _undecided(pod), utc_now())
    return {**explanation, "scheduler": pod["spec"].get("schedulerName"), "said": said_of(pod)}


def _undecided(pod: Mapping[str, Any]) -> Decision:
    """A pod that nobody has been asked about."""
    try:
        return Decision(identity_of(pod), request_of(pod))
    except WishError as error:
        return Decision(identity_of(pod), GpuRequest(), str(error))


def _lines(explanation: Mapping[str, Any]) -> Iterator[str]:
    yield f"{explanation['pod']} asks for {_asked(explanation['asks_for'])}"
    if explanation["problem"]:
        yield f"it cannot be decided upon: {explanation['problem']}"
    if explanation["bound_to"]:
        yield f"it is bound to {explanation['bound_to']}; what follows is about another pod like it"
    if explanation["claimed"]:
        gpus, claim = explanation["claimed"]["gpus"], explanation["claimed"]["claim"]
        number = "1 GPU" if gpus == 1 else f"{gpus} GPUs"
        yield f"it has {number} through the claim {claim}: the DRA driver chose, nothing is promised about links"
    yield f"the {explanation['nodes']} nodes, as of {explanation['judged_at']}:"
    for title, groups in (("could serve it", "able"), ("short of GPUs", "short"), ("refuse it", "refused")):
        yield f"  {title}: {sum(group['nodes'] for group in explanation[groups])}"
        for group in explanation[groups]:
            yield f"    {_nodes(group)}: {group['reason']}"
    yield from _best(explanation["best"])
    if explanation["advice"]:
        yield "what would help:"
    for sentence in explanation["advice"]:
        yield f"  {sentence}"
    yield from _spoken(explanation) if "said" in explanation else _answers(explanation)


def _answers(explanation: Mapping[str, Any]) -> Iterator[str]:
    """What an extender remembers."""
    yield "what kube-scheduler was answered last:"
    for verb in ("filter", "prioritize", "preempt"):
        yield f"  {verb}: {_answered(explanation[f'last_{verb}'])}"


def _spoken(explanation: Mapping[str, Any]) -> Iterator[str]:
    """What can be known without an extender."""
    scheduler = explanation["scheduler"]
    if scheduler != _OUR_SCHEDULER:
        yield f"its schedulerName is {scheduler}: what is said here of wishes and links, only {_OUR_SCHEDULER} heeds"
    yield f"what {scheduler} says of it: {short(explanation['said'], scheduler)}"
    yield "what the extender answered last, it alone knows: ask it with --url"


def _asked(asked: Mapping[str, Any]) -> str:
    counts = [f"{asked['gpus']} GPUs"] if asked["gpus"] else []
    counts += [f"{count} {resource}" for resource, count in asked["slices"].items()]
    wishes = [f"at least {gbps(asked['min_bandwidth_gbps'])}"] if asked["min_bandwidth_gbps"] else []
    wishes += [f"require: {asked['require']}"] if asked["require"] != "any" else []
    wishes += [f"communication: {asked['communication']}"] if asked["communication"] else []
    return ", ".join([" and ".join(counts) or "nothing that is known", *wishes])


def _nodes(group: Mapping[str, Any]) -> str:
    more = ", ..." if group["nodes"] > len(group["examples"]) else ""
    number = "1 node" if group["nodes"] == 1 else f"{group['nodes']} nodes"
    return f"{number} ({', '.join(group['examples'])}{more})"


def _best(best: Mapping[str, Any] | None) -> Iterator[str]:
    if best is None:
        return
    sets = "; ".join(f"{container} GPUs {gpu_list(gpus)}" for container, gpus in best["containers"].items())
    likely = "" if best["predictable"] else " at worst"
    yield f"the best is {best['node']}{f' with {sets}' if sets else ''}, {gbps(best['bandwidth_gbps'])}{likely}"


def _answered(answer: Mapping[str, Any] | None) -> str:
    if answer is None:
        return "never asked"
    said = [f"{name.replace('_', ' ')} {_value(value)}" for name, value in answer.items() if name != "at"]
    return f"at {answer['at']}: {', '.join(said)}"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={count}" for key, count in value.items()) or "none"
    return "none" if value is None else str(value)
