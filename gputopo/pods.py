"""`gputopo pods`: the pods that have GPUs, and those that wait for some."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from extender.clock import utc_now
from extender.overview import overview_of
from gputopo.access import Access, Context, Kubeconfig, Url, access_of
from gputopo.cluster import NOTHING
from gputopo.columns import Column, lines_of
from gputopo.extender_client import ask
from gputopo.options import Json
from gputopo.output import NO_MATCH, age, counted, print_json, print_lines, terminal_width
from gputopo.overview import extender_overview
from gputopo.pod_rows import bandwidth_cells, basis_cell, gpus_cell
from gputopo.waiting import remembered_pod, short, waiting_pod


def pods(  # noqa: PLR0913  each is an option
    *,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", metavar="NAME", show_default=False, help="Only pods of this one.")
    ] = None,
    node: Annotated[
        str | None, typer.Option(metavar="NAME", show_default=False, help="Only pods that have GPUs of this node.")
    ] = None,
    pending: Annotated[bool, typer.Option("--pending", help="Only pods that wait.")] = False,
    url: Url = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """List a cluster's GPU pods: which GPUs they have and how fast these are together, and why the others wait."""
    if pending and node is not None:
        raise typer.BadParameter("a pod that waits has no node", param_hint="'--pending'")
    access = access_of(url, kubeconfig, context)
    overview, waiting = _from_extender(access.url) if access.url is not None else asyncio.run(_from_api(access))
    wanted = [
        pod
        for pod in _pods(overview["nodes"])
        if _is_in(pod, namespace) and node in (None, pod["node"]) and not pending
    ]
    waiting = [pod for pod in waiting if _is_in(pod, namespace) and node is None]
    if as_json:
        print_json({"pods": wanted, "waiting": waiting})
    elif wanted or waiting:
        print_lines(pod_lines(wanted, waiting, utc_now(), terminal_width()))
    else:
        typer.echo("there is no such pod with GPUs, nor one that waits for some", err=True)
    if not wanted and not waiting:
        raise typer.Exit(NO_MATCH)


def pod_lines(
    pods: Sequence[Mapping[str, Any]], waiting: Sequence[Mapping[str, Any]], now: datetime, width: int | None = None
) -> Iterator[str]:
    """The pods as lists for a person, those that wait in one of their own.

    Args:
        pods: of the overview, each with the name of its `node`.
        waiting: as `gputopo.waiting` has them.
        now: the present time.
        width: characters in a line of the terminal; None where nothing is to be cut.
    """
    if pods:
        columns = [
            Column("POD"),
            Column("NODE"),
            Column("GPUS"),
            Column("HOW SURE"),
            Column("GB/S", right=True),
            Column("BEST", right=True),
            Column("SINCE", right=True, optional=True),
        ]
        rows = (
            [
                pod["pod"],
                pod["node"],
                gpus_cell(pod),
                basis_cell(pod),
                *bandwidth_cells(pod),
                NOTHING if pod["asks_for"] is None else age(pod["scheduled_at"], now),
            ]
            for pod in pods
        )
        yield from lines_of(columns, rows, width)
    if waiting:
        columns = [Column("WAITING"), Column("ASKS FOR"), Column("SINCE", right=True), Column("WHY", gives_way=True)]
        rows = (
            [pod["pod"], _asked(pod), age(pod["since"], now), short(pod["reason"], pod["scheduler"])] for pod in waiting
        )
        yield from lines_of(columns, rows, width)


def _asked(pod: Mapping[str, Any]) -> str:
    gpus = [counted(pod["asks_for"], "GPU")] if pod["asks_for"] else []
    return ", ".join([*gpus, *(f"{count} x {resource}" for resource, count in pod["slices"].items())]) or NOTHING


def _pods(nodes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """All pods of an overview, each with its node, in alphabetical order."""
    placed = [{"node": node["name"], **pod} for node in nodes for pod in node["pods"]]
    return sorted(placed, key=lambda pod: (pod["pod"], pod["node"]))


def _is_in(pod: Mapping[str, Any], namespace: str | None) -> bool:
    return namespace is None or str(pod["pod"]).partition("/")[0] == namespace


def _from_extender(url: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    remembered = (remembered_pod(pod) for pod in ask(url, "/v1/pods")["pods"])
    return extender_overview(url), [pod for pod in remembered if pod is not None]


async def _from_api(access: Access) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    from gputopo.api_books import books_of  # noqa: PLC0415  it loads the Kubernetes client, for half a second

    async with books_of(access) as books:
        waiting = (waiting_pod(pod) for pod in await books.waiting())
        return overview_of(books.ledger), [pod for pod in waiting if pod is not None]
