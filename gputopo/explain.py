"""`gputopo explain`: why a pod waits, by the books of a running extender."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final
from urllib.parse import quote

import httpx
import orjson
import typer

from gpu_topology.errors import SourceError
from gputopo.options import Json
from gputopo.output import gbps, gpu_list, print_json

_SECONDS: Final = 10.0
"""How long the extender may take: it judges every node of the cluster."""


def explain(
    pod: Annotated[str, typer.Argument(metavar="NAMESPACE/POD", help="The pod that waits.", show_default=False)],
    *,
    url: Annotated[
        str, typer.Option(metavar="URL", help="Where the extender beside the leading scheduler answers the verbs.")
    ] = "http://127.0.0.1:8888",
    as_json: Json = False,
) -> None:
    """Say why a pod waits: which nodes could serve it, which could not and why, and what would help."""
    explanation = _ask(url, _path(pod))
    if as_json:
        print_json(explanation)
        return
    for line in _lines(explanation):
        typer.echo(line)


def _path(pod: str) -> str:
    parts = pod.split("/")
    if len(parts) != 2 or not all(parts):  # noqa: PLR2004  as its name says
        raise typer.BadParameter(f"{pod!r} is not a namespace and a pod such as default/trainer", param_hint="'POD'")
    return "/".join(quote(part, safe="") for part in parts)


def _ask(url: str, path: str) -> dict[str, Any]:
    """The extender's explanation.

    Raises:
        SourceError: it cannot be reached, or has none to give.
    """
    try:
        answer = httpx.get(f"{url.rstrip('/')}/v1/explain/{path}", timeout=_SECONDS, trust_env=False)
        document = orjson.loads(answer.content)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceError(f"the extender at {url} cannot be asked: {error}") from error
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{url} is no extender: its answer is not JSON") from error
    if not isinstance(document, dict):
        raise SourceError(f"{url} is no extender: its answer is not an object")
    if not answer.is_success:
        raise SourceError(str(document.get("detail", f"the extender at {url} answered {answer.status_code}")))
    return document


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
    yield "what kube-scheduler was answered last:"
    for verb in ("filter", "prioritize", "preempt"):
        yield f"  {verb}: {_answered(explanation[f'last_{verb}'])}"


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
