"""`gputopo top`: how much of a cluster is allocated, refreshed in place."""

import asyncio
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import typer
from rich.live import Live
from rich.text import Text

from extender.clock import utc_now
from extender.overview import overview_of
from gputopo.access import Access, CannotAskError, Context, Kubeconfig, Url, access_of
from gputopo.cluster import totals_of
from gputopo.options import Json
from gputopo.output import console, print_json, print_lines, printable
from gputopo.overview import extender_overview, only_with_gpus, read_overview, with_gpus
from gputopo.summary import By, groups_of, summary

_LATELY: Final = timedelta(seconds=30)
"""For how long a failed watch is told of: a little longer than a watch takes to be tried again."""

Draw = Callable[[Mapping[str, Any], datetime, str | None], None]
"""Shows an overview, of when it is, and what is wrong with that."""


def top(  # noqa: PLR0913  each is an option
    *,
    by: Annotated[By, typer.Option(help="What a line stands for.")] = By.CLASS,
    every: Annotated[float, typer.Option(min=1.0, metavar="SECONDS", help="How long until the next look.")] = 5.0,
    once: Annotated[bool, typer.Option("--once", help="Print it once; so it is without a terminal.")] = False,
    url: Url = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_json: Json = False,
) -> None:
    """Show how many GPUs of a cluster are allocated, until Ctrl-C. How busy they are is not known here."""
    access = access_of(url, kubeconfig, context)
    if as_json or once or not sys.stdout.isatty():
        _print(read_overview(access), by, as_json=as_json)
        return
    try:
        asyncio.run(_from_api(access, by, every) if access.url is None else _from_extender(access.url, by, every))
    except KeyboardInterrupt:
        return  # the way to end it


def _print(document: Mapping[str, Any], by: By, *, as_json: bool) -> None:
    if as_json:
        groups = groups_of(document["nodes"], document["topologies"], by)
        print_json({"groups": [group.document(by) for group in groups], "totals": totals_of(document["nodes"])})
    else:
        print_lines(summary(document, by, utc_now()))


async def _from_api(access: Access, by: By, every: float) -> None:
    """Draw the books, which watches keep up to date, until cancelled."""
    from gputopo.api_books import books_of  # noqa: PLC0415  it loads the Kubernetes client, for half a second

    async with books_of(access) as books:
        with_gpus(overview_of(books.ledger))
        reflectors = books.reflectors()
        failures, failed_at = 0, datetime.min.replace(tzinfo=utc_now().tzinfo)
        with _screen(by) as draw:
            async with asyncio.TaskGroup() as tasks:
                for reflector in reflectors:
                    tasks.create_task(reflector.run())
                while True:
                    books.look()
                    now, before, failures = utc_now(), failures, sum(each.failures for each in reflectors)
                    failed_at = now if failures > before else failed_at
                    trouble = "the API server breaks off" if now - failed_at < _LATELY else None
                    draw(only_with_gpus(overview_of(books.ledger)), now, trouble)
                    await asyncio.sleep(every)


async def _from_extender(url: str, by: By, every: float) -> None:
    """Draw what the extender says, until cancelled; while it does not answer, what it said last."""
    document, at = with_gpus(extender_overview(url)), utc_now()
    trouble: str | None = None
    with _screen(by) as draw:
        while True:
            draw(document, at, trouble)
            await asyncio.sleep(every)
            try:
                document, at, trouble = only_with_gpus(extender_overview(url)), utc_now(), None
            except CannotAskError as error:
                trouble = str(error)


@contextmanager
def _screen(by: By) -> Generator[Draw]:
    """Something to draw on, in place; what was drawn last stays when it ends."""
    output = console()
    with Live(console=output, auto_refresh=False) as live:

        def draw(document: Mapping[str, Any], at: datetime, trouble: str | None) -> None:
            lines = [*summary(document, by, at, output.width, output.height)]
            if trouble is not None:
                lines.append(f"not up to date: {printable(trouble)}")
            live.update(Text("\n", no_wrap=True, overflow="crop").join(map(Text.from_ansi, lines)), refresh=True)

        yield draw
