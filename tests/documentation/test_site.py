"""The documentation is a site that can be built, and that is complete in itself."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs_site.links import relinked, without_escapes
from docs_site.settings_page import PAGE, page
from tests.manifests.files import REPOSITORY

RESOURCE = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)\"|<link\b[^>]*\bhref=\"([^\"]+)\"")
FROM_ELSEWHERE = re.compile(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//")
PICTURES = sorted((REPOSITORY / "docs" / "images").glob("*.svg"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; building it fails on a page that no chapter names, and on a link or heading that is not there."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=REPOSITORY,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Building documentation" in done.stderr, "a mkdocs that keeps quiet counts no warnings, and is never strict"
    return folder


def test_every_page_becomes_one_of_the_site(site: Path) -> None:
    docs = REPOSITORY / "docs"
    for source in docs.rglob("*.md"):
        assert (site / source.relative_to(docs).with_suffix(".html")).is_file(), source


def test_nothing_is_fetched_from_elsewhere_when_a_page_is_read(site: Path) -> None:
    """No fonts, scripts, styles or pictures but the site's own: others would learn who reads, and may be gone."""
    for read in site.rglob("*.html"):
        fetched = [script or style for script, style in RESOURCE.findall(read.read_text())]
        assert fetched
        assert not [address for address in fetched if "//" in address], read
    for style in site.rglob("*.css"):
        assert not FROM_ELSEWHERE.search(style.read_text()), style


def test_the_page_of_settings_is_what_the_programs_say() -> None:
    """`make docs` writes it anew: every setting of both programs, its default and what it is."""
    assert PAGE.read_text() == page(), "the settings have changed: python -m docs_site.settings_page"


@pytest.mark.parametrize("picture", PICTURES, ids=lambda picture: picture.stem)
def test_a_picture_says_in_words_what_it_shows(picture: Path) -> None:
    """For those who do not see it, and where it is not loaded; and it has a ground of its own, for dark pages."""
    drawing = picture.read_text()
    assert 'role="img"' in drawing
    assert re.search(r"<title[^>]*>.+</title>", drawing)
    assert re.search(r"<desc[^>]*>.+</desc>", drawing)
    assert re.search(r'<rect[^>]*fill="(?:white|#ffffff)"', drawing)


@pytest.mark.parametrize(
    ("markdown", "rewritten"),
    [
        ("[a](concepts.md#the-parts)", "[a](concepts.md#the-parts)"),
        ("[a](#here)", "[a](#here)"),
        ("[a](https://example.org/b.md)", "[a](https://example.org/b.md)"),
        ("[a](../extender/README.md#settings)", "[a](reference/extender.md#settings)"),
        ("[the code](../extender/explain.py)", "the code (`extender/explain.py`)"),
        ("[`extender/explain.py`](../extender/explain.py)", "`extender/explain.py`"),
        ("```\n[a](../extender/README.md)\n```", "```\n[a](../extender/README.md)\n```"),
    ],
)
def test_a_link_leads_to_where_its_target_is_in_the_site(markdown: str, rewritten: str) -> None:
    pages = {"concepts.md", "install.md", "reference/extender.md"}
    assert relinked(markdown, "install.md", pages) == rewritten


def test_a_page_from_outside_of_the_folder_links_back_into_it() -> None:
    pages = {"security.md", "reference/extender.md"}
    link = "[a](../docs/security.md#mutual-tls)"
    assert relinked(link, "reference/extender.md", pages) == "[a](../security.md#mutual-tls)"


def test_a_bar_in_the_code_of_a_table_needs_no_escape() -> None:
    """In the text of a row, and outside of tables, a backslash stays."""
    page = "| `a\\|b` | c \\| d |\n\n`a\\|b`\n"
    assert without_escapes(page) == "| `a|b` | c \\| d |\n\n`a\\|b`\n"
