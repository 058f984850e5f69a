"""The page's listener over HTTP: what it gives to whom."""

import re
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path

import httpx
import pytest

from extender.app import create_page_app
from extender.ledger import Ledger
from extender.page_guard import SECURITY_HEADERS
from extender.page_token import PageToken
from extender.service import Service
from gpu_topology.errors import SettingsError
from tests.extender.builders import node, plain
from tests.extender.test_app import client_of

TOKEN = "correct-horse-battery"  # noqa: S105  opens nothing but these tests
FILES = sorted(entry.name for entry in (resources.files("extender") / "page").iterdir())


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    return file


@pytest.fixture
async def client(token_file: Path) -> AsyncIterator[httpx.AsyncClient]:
    ledger = Ledger()
    ledger.replace_nodes([node("n", plain(4))])
    async with client_of(create_page_app(Service(ledger), PageToken(token_file))) as client:
        yield client


def replace(file: Path, content: bytes | None) -> None:
    """Other content for a file; None: it is gone."""
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)


def showing(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_the_token_opens_the_data(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/cluster", headers=showing(TOKEN))
    assert answer.json()["nodes"][0]["name"] == "n"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/v1/cluster", "/v1/pods", "/v1/nodes/n", "/v1/explain/a/b", "/v1/none"])
@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "this takes a token: Authorization: Bearer <token>"),
        (showing("correct-horse-batter"), "the token is not the right one"),
        (showing(""), "the token is not the right one"),
        ({"authorization": TOKEN}, "the token is not the right one"),
        ({"authorization": f"Basic {TOKEN}"}, "the token is not the right one"),
        ({"authorization": "Bearer \u00e9"}, "the token is not the right one"),
    ],
)
async def test_without_it_nothing_is_said_but_why(
    client: httpx.AsyncClient, path: str, headers: dict[str, str], reason: str
) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = await client.get(path, headers=encoded)
    assert (answer.status_code, answer.json()) == (401, {"detail": reason})
    assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_a_token_in_the_address_opens_nothing(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"/v1/cluster?token={TOKEN}&access_token={TOKEN}")).status_code == 401


async def test_a_new_token_counts_at_once_and_the_old_one_no_longer(
    client: httpx.AsyncClient, token_file: Path
) -> None:
    replace(token_file, b"another-token-entirely")
    assert (await client.get("/v1/pods", headers=showing(TOKEN))).status_code == 401
    assert (await client.get("/v1/pods", headers=showing("another-token-entirely"))).status_code == 200


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 20])
async def test_without_a_usable_token_nobody_is_let_in(
    client: httpx.AsyncClient, token_file: Path, content: bytes
) -> None:
    replace(token_file, content)
    for shown in (TOKEN, ""):
        assert (await client.get("/v1/pods", headers=showing(shown))).status_code == 503
    replace(token_file, None)
    assert (await client.get("/v1/pods", headers=showing(TOKEN))).status_code == 503


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "fewer than 16 characters"), (b"short\n", "fewer than 16 characters"), (b"\xff" * 20, "else than ASCII")],
)
def test_a_token_that_could_be_guessed_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=message):
        PageToken(file)


def test_a_token_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file or directory"):
        PageToken(tmp_path / "none")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/v1/cluster", "/filter", "/bind"])
async def test_it_is_for_reading_only(client: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await client.request(method, path, headers=showing(TOKEN))
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize("path", ["/filter", "/metrics", "/healthz", "/docs", "/../settings.py", "/%2e%2e/settings.py"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path, headers=showing(TOKEN))).status_code == 404


@pytest.mark.parametrize("path", ["/", *(f"/{name}" for name in FILES)])
async def test_the_page_itself_is_open_to_all_and_tells_nothing(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert (await client.head(path)).headers["content-length"] == str(len(answer.content))
    again = await client.get(path, headers={"if-none-match": answer.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/", "/main.js", "/v1/cluster", "/v1/none", "/none"])
async def test_every_answer_is_strict_and_sets_no_cookie(client: httpx.AsyncClient, path: str) -> None:
    for headers in ({}, showing(TOKEN)):
        answer = await client.get(path, headers=headers)
        assert SECURITY_HEADERS.items() <= dict(answer.headers).items()
        assert "set-cookie" not in answer.headers
        assert "unsafe" not in answer.headers["content-security-policy"]


def test_every_file_is_of_a_kind_that_browsers_are_told() -> None:
    assert {Path(name).suffix for name in FILES} == {".html", ".css", ".js", ".svg"}


def test_no_file_names_another_server_or_holds_style_or_script_of_its_own() -> None:
    for name in FILES:
        text = (resources.files("extender") / "page" / name).read_text(encoding="utf-8")
        assert set(re.findall(r"\w+://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|<style|style=|\son[a-z]+=|<script(?! type)", text
        )
