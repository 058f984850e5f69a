"""A hook of mkdocs: what GitHub understands in the pages, above all their links, works in the site too.

A page links to files as they lie in the repository. What is a page of the site is linked to there; anything else, such
as a manifest, is shown as its path, since no address of the repository is known here.
"""

import posixpath
import re
from pathlib import PurePosixPath
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ELSEWHERE: Final = {
    "gpu_topology/README.md": "reference/contract.md",
    "extender/README.md": "reference/extender.md",
    "topology_agent/README.md": "reference/agent.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "CHANGELOG.md": "project/changelog.md",
}
"""Pages of the site that lie outside of docs/, by their path in the repository."""
DOCS: Final = "docs"
_LINK: Final = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]*)(?P<fragment>#[^)\s]*)?\)")
_ROW: Final = re.compile(r"^\|.*$", re.MULTILINE)
_CODE: Final = re.compile(r"`[^`]+`")
_FENCED: Final = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the pages from outside of docs/ into the site."""
    repository = PurePosixPath(config.docs_dir).parent
    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(repository / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - the name of the parameter is mkdocs' own
    """Let each link of a page lead to where its target is in the site, and each table look as on GitHub."""
    return without_escapes(relinked(markdown, page.file.src_uri, {file.src_uri for file in files}))


def relinked(markdown: str, page: str, pages: set[str]) -> str:
    """A page of which the links, as they stand in the repository, are those of the site.

    Args:
        markdown: the text of the page; what stands in fenced blocks is left alone.
        page: its path in the site.
        pages: the paths of all files of the site.
    """
    in_repository = {page: source for source, page in ELSEWHERE.items()}.get(page, f"{DOCS}/{page}")

    def relink(link: re.Match[str]) -> str:
        target = link["target"]
        if not target or "://" in target:
            return link[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(in_repository), target))
        found = site_path(wanted)
        if found is None or found not in pages:
            return link["text"] if wanted in link["text"] else f"{link['text']} (`{wanted}`)"
        relative = posixpath.relpath(found, posixpath.dirname(page) or ".")
        return f"{link['image']}[{link['text']}]({relative}{link['fragment'] or ''})"

    parts = _FENCED.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(relink, part) for part in parts)


def without_escapes(markdown: str) -> str:
    """A page whose tables have bars in code without the backslash that GitHub wants and Python-Markdown shows."""
    return _ROW.sub(lambda row: _CODE.sub(lambda code: code[0].replace(r"\|", "|"), row[0]), markdown)


def site_path(in_repository: str) -> str | None:
    """Where a file of the repository is in the site, if it is there at all."""
    if in_repository in ELSEWHERE:
        return ELSEWHERE[in_repository]
    return in_repository.removeprefix(f"{DOCS}/") if in_repository.startswith(f"{DOCS}/") else None
