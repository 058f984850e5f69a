"""Where the commands about a cluster ask: an extender, or the API server as kubectl would."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from gpu_topology.errors import SourceError

Url: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        show_default=False,
        help="Ask the extender that answers the verbs there, such as http://127.0.0.1:8888, instead of the API server.",
    ),
]
Kubeconfig: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", show_default=False, help="The kubeconfig; the one that kubectl takes, if left out."),
]
Context: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="NAME", show_default=False, help="The kubeconfig's context; the current one, if left out."),
]


class CannotAskError(SourceError):
    """There is nobody to ask: no credentials, no connection, no right, or no cluster of ours at the other end."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where to ask.

    Attributes:
        url: of an extender; None: the API server is asked.
        kubeconfig: the file to use; None: the one that kubectl takes.
        context: of the kubeconfig; None: its current one.
    """

    url: str | None = None
    kubeconfig: Path | None = None
    context: str | None = None


def access_of(url: str | None, kubeconfig: Path | None, context: str | None) -> Access:
    """What the options of a command say.

    Raises:
        typer.BadParameter: they name both an extender and an API server.
    """
    if url is not None and (kubeconfig is not None or context is not None):
        raise typer.BadParameter("an extender needs neither --kubeconfig nor --context", param_hint="'--url'")
    return Access(url, kubeconfig, context)
