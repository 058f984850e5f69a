"""What people see, in a real browser."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Response, Route, ViewportSize, expect, sync_playwright

from benchmarks.served_extender import serving
from extender.app import create_page_app
from extender.ledger import Ledger
from extender.page_token import PageToken
from tests.chromium import arguments, chromium
from tests.extender.builders import node, pod, switched
from tests.extender.page.made_up import MARKUP, STALE, large_ledger, ledger, service_of
from tests.extender.page.test_guard import TOKEN

MANY = 1000
MOST_ELEMENTS = 6000
"""In the document, however many machines there are: about 40 cards of a hundred elements each."""
KINDS_OF_CONTROL: dict[str, Literal["searchbox", "spinbutton", "combobox"]] = {
    "Search": "searchbox",
    "Free at least": "spinbutton",
}
ENOUGH: ViewportSize = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=arguments())
        yield started
        started.close()


@dataclass
class Look:
    """A page of the extender, and all that went wrong in it.

    Attributes:
        answers: path and status of every answer that it got.
        complaints: errors of scripts, and what the browser's console says about refused content.
    """

    page: Page
    url: str
    books: Ledger
    answers: list[tuple[str, int]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def sign_in(self, token: str = TOKEN) -> None:
        self.page.goto(self.url)
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Show the cluster").click()

    def machines(self) -> list[str]:
        """The names on the cards, in their order."""
        return self.page.locator(".card h2").all_inner_texts()

    def card(self, name: str) -> str:
        """What a card says to a reader of screens."""
        label = self.page.locator(f'[data-machine="{name}"]').first.get_attribute("aria-label")
        assert label is not None
        return label

    def pass_seconds(self, seconds: int) -> None:
        self.page.clock.run_for(seconds * 1000)

    def pass_seconds_until(self, response: Callable[[Response], bool]) -> None:
        """Let seconds pass, one after the other, until the page has had such an answer.

        It sets out to ask again once it has dealt with the last answer, which may be after we have seen that one.
        """
        seen: list[Response] = []
        self.page.on("response", lambda answer: seen.append(answer) if response(answer) else None)
        deadline = time.monotonic() + 30
        while not seen:
            assert time.monotonic() < deadline, "the page does not ask again"
            self.pass_seconds(1)


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> PageToken:
    file = tmp_path_factory.mktemp("page") / "token"
    file.write_text(TOKEN)
    return PageToken(file)


@pytest.fixture(params=["light"])
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A fresh browser profile, in the colours that the test asks for."""
    context = browser.new_context(viewport=ENOUGH, color_scheme=request.param)
    context.set_default_timeout(5_000)
    yield context
    context.close()


@pytest.fixture
def books() -> Ledger:
    return ledger()


@pytest.fixture
def look(context: BrowserContext, books: Ledger, token: PageToken) -> Iterator[Look]:
    """A page that is not signed in yet; at the end nothing may have gone wrong in it, or to anybody else."""
    with serving(create_page_app(service_of(books), token)) as url:
        page = context.new_page()
        page.clock.install()
        look = Look(page, url, books)
        page.on("response", lambda answer: look.answers.append((answer.url.removeprefix(url), answer.status)))
        page.on("pageerror", lambda error: look.complaints.append(str(error)))
        page.on("console", lambda said: look.complaints.append(said.text) if "Refused" in said.text else None)
        page.on("dialog", lambda dialog: look.complaints.append(dialog.message))
        yield look
        page.goto("about:blank")
        assert not look.complaints
        assert all(path.startswith("/") for path, _ in look.answers)


def test_a_wrong_token_is_answered_with_the_reason(look: Look) -> None:
    look.sign_in("not-the-right-token")
    expect(look.page.get_by_role("alert")).to_have_text("The extender said: the token is not the right one")
    expect(look.page.get_by_label("Token")).to_be_focused()


def test_the_token_stays_in_the_tab_and_out_of_the_address(look: Look) -> None:
    look.sign_in()
    expect(look.page.get_by_role("button", name=re.compile("^busy"))).to_be_visible()
    assert look.page.url == f"{look.url}/"
    assert look.page.context.cookies() == []
    look.page.reload()
    expect(look.page.get_by_role("button", name=re.compile("^busy"))).to_be_visible()
    look.page.get_by_role("button", name="Sign out").click()
    expect(look.page.get_by_label("Token")).to_be_focused()
    look.page.reload()
    expect(look.page.get_by_label("Token")).to_be_visible()
    assert TOKEN not in "".join(path for path, _ in look.answers)


def test_a_card_says_in_words_what_it_shows(look: Look) -> None:
    look.sign_in()
    expect(look.page.locator(".card")).to_have_count(9)
    assert look.card("broken") == "broken, L40, 2 of 4 free, 1 unhealthy, 1 cordoned"
    assert look.card("busy") == "busy, H100 80GB HBM3, 0 of 8 free"
    assert look.card("silent") == "silent, not known, the node has no annotation gpu-scheduler/topology"
    assert look.card("failing").endswith("suspect: 3 GPU pods of 2 owners failed here within 10 minutes")
    totals = look.page.get_by_role("group", name="GPUs of the cluster")
    expect(totals).to_contain_text("1 unhealthy")
    expect(totals).to_contain_text("12 not known")


def test_links_of_a_kind_are_drawn_once_however_many_machines_have_them(look: Look) -> None:
    look.sign_in()
    expect(look.page.locator(".card")).to_have_count(9)
    drawn = {use.get_attribute("href") for use in look.page.locator(".card use").all()}
    assert look.page.locator("#shapes symbol").count() == len(drawn) == 4
    pairs = look.page.locator('[data-machine="pairs"] + svg use').get_attribute("href")
    assert look.page.locator(f"{pairs} .link.nvlink").count() == 4
    assert look.page.locator(f"{pairs} .link.host").count() == 24


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("State", "free", ["broken", "cut", "empty", "failing", "odd", "pairs"]),
        ("State", "full", ["busy"]),
        ("State", "broken", ["broken"]),
        ("State", "sliced", ["cut"]),
        ("State", "unknown", ["silent", "stale"]),
        ("State", "standing", ["failing"]),
        ("Free at least", "4", ["empty", "failing"]),
        ("Model", "NVIDIA L40", ["broken", "cut"]),
        ("Links", "nvswitch", ["busy", "empty", "failing"]),
        ("Namespace", "speech", ["busy", "pairs"]),
        ("Search", "rtx a6000", ["odd", "pairs"]),
        ("Search", "team/SPLIT", ["pairs"]),
        ("Search", "nothing like it", []),
        ("Order", "free", ["failing", "empty", "cut", "broken", "odd", "pairs", "busy", "silent", "stale"]),
        ("Order", "trouble", ["silent", "stale", "failing", "broken", "busy", "cut", "empty", "odd", "pairs"]),
    ],
)
def test_machines_are_filtered_and_ordered(shared: Look, field: str, value: str, expected: list[str]) -> None:
    control = shared.page.get_by_role(KINDS_OF_CONTROL.get(field, "combobox"), name=field)
    control.fill(value) if field in KINDS_OF_CONTROL else control.select_option(value)
    assert shared.machines() == expected
    expect(shared.page.get_by_text("No machine is like that.")).to_be_visible(visible=not expected)
    shared.page.get_by_role("button", name="Clear").click()
    expect(shared.page.locator(".card")).to_have_count(9)


@pytest.fixture(scope="module")
def shared(browser: Browser, token: PageToken) -> Iterator[Look]:
    """A page that is signed in, for tests that leave it as they found it."""
    books = ledger()
    with serving(create_page_app(service_of(books), token)) as url, browser.new_context(viewport=ENOUGH) as context:
        context.set_default_timeout(5_000)
        look = Look(context.new_page(), url, books)
        look.sign_in()
        expect(look.page.locator(".card")).to_have_count(9)
        yield look


def test_the_keyboard_leads_everywhere(look: Look) -> None:
    look.sign_in()
    page = look.page
    expect(page.get_by_role("button", name=re.compile("^Machines"))).to_be_focused()
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    for _ in range(8):  # the other filters, and then the first card
        page.keyboard.press("Tab")
    expect(page.locator('[data-machine="broken"]')).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator('[data-machine="busy"]')).to_be_focused()
    page.keyboard.press("End")
    expect(page.locator('[data-machine="stale"]')).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    opened = page.get_by_role("complementary", name="Details").get_by_role("heading", level=2)
    expect(opened).to_be_focused()
    name = opened.inner_text()
    page.keyboard.press("Shift+Tab")
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(f'[data-machine="{name}"]')).to_be_focused()


def test_every_gpu_of_a_machine_is_told_of_in_words(look: Look) -> None:
    look.sign_in()
    look.page.locator('[data-machine="broken"]').click()
    panel = look.page.get_by_role("complementary", name="Details")
    expect(panel.get_by_text("XID 79: the GPU has fallen off the bus")).to_be_visible()
    expect(panel.locator(".state")).to_have_text(["free", "unhealthy", "free", "cordoned"])
    expect(panel.get_by_text("GPU-3")).to_be_visible()
    look.page.locator('[data-machine="empty"]').click()
    expect(panel.get_by_text("the node may give another set that is worth as much").first).to_be_visible()


def test_a_pod_is_explained(look: Look) -> None:
    look.sign_in()
    page = look.page
    page.get_by_role("button", name=re.compile("^Pods")).click()
    page.get_by_role("button", name="team/split").click()
    panel = page.get_by_role("complementary", name="Details")
    expect(panel).to_contain_text("26.3 GB/s of 56 GB/s")
    expect(panel).to_contain_text("seen by the agent")
    expect(panel).to_contain_text("Were another like it placed now")
    expect(panel).to_contain_text("376 GB/s")
    page.get_by_role("button", name="team/waits").click()
    expect(panel).to_contain_text("Too few GPUs free")
    page.get_by_role("button", name="speech/all").click()
    expect(panel).to_contain_text("the extender remembers no question about speech/all")


def test_pods_that_wait_come_first(look: Look) -> None:
    look.sign_in()
    look.page.get_by_role("button", name=re.compile("^Pods")).click()
    rows = look.page.get_by_role("row")
    expect(rows.nth(1)).to_contain_text("team/waits")
    expect(rows.nth(1)).to_contain_text("16 wanted")
    expect(look.page.get_by_role("table")).to_have_attribute("aria-rowcount", "8")
    look.page.get_by_role("combobox", name="Namespace").select_option("speech")
    expect(look.page.get_by_role("row")).to_have_count(3)
    expect(look.page.get_by_role("row").nth(2)).to_contain_text("speech/whole")


def test_markup_in_names_is_shown_as_text(look: Look) -> None:
    look.sign_in()
    page = look.page
    expect(page.locator(".holders").filter(has_text=MARKUP)).to_be_visible()
    expect(page.locator(".trouble").filter(has_text=STALE)).to_be_visible()
    page.locator('[data-machine="odd"]').click()
    page.get_by_role("complementary").get_by_role("button", name=MARKUP).first.click()
    expect(page.get_by_role("heading", name=MARKUP)).to_be_visible()
    page.get_by_role("button", name=re.compile("^Pods")).click()
    expect(page.get_by_role("table").get_by_role("button", name=MARKUP)).to_be_visible()
    assert page.locator("img, script:not([src='main.js'])").count() == 0


def test_it_keeps_up_to_date_and_asks_cheaply(look: Look) -> None:
    look.sign_in()
    page = look.page
    expect(page.locator(".card")).to_have_count(9)
    page.locator('[data-machine="empty"]').focus()
    with page.expect_response(lambda answer: answer.url.endswith("/v1/cluster")) as unchanged:
        look.pass_seconds(6)
    assert unchanged.value.status == 304
    look.books.apply_pod(pod("late", 4, on="empty"))
    look.books.apply_node(node("added", switched(8)))
    look.pass_seconds_until(lambda answer: answer.url.endswith("/v1/cluster") and answer.status == 200)
    expect(page.locator('[data-machine="empty"]')).to_have_attribute("aria-label", re.compile("2 of 8 free"))
    expect(page.locator(".card")).to_have_count(10)
    expect(page.locator('[data-machine="empty"]')).to_be_focused()


def test_it_says_when_it_is_no_longer_up_to_date(look: Look) -> None:
    look.sign_in()
    page = look.page
    expect(page.get_by_text("up to date", exact=True)).to_be_visible()

    def refuse(route: Route) -> None:
        route.fulfill(status=503, json={"detail": "the extender is still waiting for the list of nodes"})

    page.route("**/v1/cluster", refuse)
    look.pass_seconds(6)
    expect(page.get_by_text(re.compile("not up to date: the extender is still waiting"))).to_be_visible()
    expect(page.locator(".card")).to_have_count(9)
    page.unroute("**/v1/cluster")
    look.pass_seconds(20)
    expect(page.get_by_text("up to date", exact=True)).to_be_visible()


def test_a_token_that_was_replaced_leads_back_to_the_way_in(look: Look) -> None:
    look.sign_in()
    expect(look.page.locator(".card")).to_have_count(9)
    look.page.route(
        "**/v1/**", lambda route: route.fulfill(status=401, json={"detail": "the token is not the right one"})
    )
    look.pass_seconds(6)
    expect(look.page.get_by_role("alert")).to_contain_text("the token is not the right one")
    assert look.page.locator(".card").count() == 0


@pytest.mark.parametrize("context", ["light", "dark"], indirect=True)
def test_axe_finds_nothing(look: Look) -> None:
    page, axe = look.page, Axe()

    def check(view: str) -> None:
        found = axe.run(page)
        assert found.violations_count == 0, f"{view}: {found.generate_report()}"

    page.goto(look.url)
    check("the way in")
    look.sign_in()
    page.locator('[data-machine="broken"]').click()
    check("machines")
    page.get_by_role("button", name=re.compile("^Pods")).click()
    page.get_by_role("button", name="team/split").click()
    expect(page.get_by_text("Were another like it placed now")).to_be_visible()
    check("pods")


class TestManyMachines:
    @pytest.fixture
    def books(self) -> Ledger:
        return large_ledger(MANY)

    def test_only_what_can_be_seen_is_in_the_document(self, look: Look) -> None:
        look.sign_in()
        page = look.page
        expect(page.locator(".card").first).to_be_visible()
        page.keyboard.press("/")
        for _ in range(8):
            page.keyboard.press("Tab")
        for key in ("PageDown", "End", "PageUp", "End"):
            page.keyboard.press(key)
            assert page.locator("*").count() < MOST_ELEMENTS
        last = page.locator(f'[aria-posinset="{MANY}"] button')
        expect(last).to_be_focused()
        expect(last).to_be_in_viewport()
        page.get_by_role("searchbox").fill("pool-a-00042.")
        expect(page.locator(".card")).to_have_count(1)
        expect(page.get_by_text("1 of 1,000")).to_be_visible()
