"""The page in a real browser: what a person sees and does, as the owner and as a guest."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from browser_tools import CHROMIUM, GUEST, HOSTILE, SIGNALS, Runs, fill, login, opened
from checked_server import CheckedServer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
expect = playwright.expect
expect.set_options(timeout=10_000)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium or google-chrome on the PATH"),
]
TABS = {
    "scalars": "exact_match",
    "plots": "table (0)",
    "samples": "pictures / first",
    "attention": "Layer 1",
    "console": SIGNALS[-1],
    "configuration": "config.yaml",
    "artifacts": "table",
    "code": "train.py",
    "machine": "cpu_usage",
}


@pytest.fixture(scope="module")
def runs(server: CheckedServer) -> Runs:
    return fill(server)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture
def page(browser: "Browser", runs: Runs) -> Iterator["Page"]:
    """A page of the first user."""
    with opened(browser, runs.server) as page:
        login(page, runs.server)
        yield page


@pytest.fixture
def guest(browser: "Browser", runs: Runs) -> Iterator["Page"]:
    """A page of a user who may only look."""
    with opened(browser, runs.server) as page:
        login(page, runs.server, *GUEST)
        yield page


def fits(page: "Page") -> bool:
    """Return whether nothing of the page lies beyond its width."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_who_is_not_logged_in_is_asked_and_comes_back_to_the_same_place(
    browser: "Browser", runs: Runs
) -> None:
    with opened(browser, runs.server) as page:
        page.goto(runs.address(0, "console"))
        page.wait_for_url("**/login?next=*")
        page.fill("[name=user]", GUEST[0])
        page.fill("[name=password]", "wrong")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("User and password do not fit.")
        page.fill("[name=password]", GUEST[1])
        page.keyboard.press("Enter")
        page.wait_for_url(runs.address(0, "console"))
        expect(page.locator(".console")).to_contain_text(SIGNALS[-1])
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
        page.goto(runs.server.url)
        page.wait_for_url("**/login?next=*")


def test_a_run_is_found_by_a_search(page: "Page", runs: Runs) -> None:
    expect(page.locator("tbody tr")).to_have_count(3)
    page.get_by_role("searchbox", name="Search runs").fill("run 1")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert "q=run" in page.url
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_role("link", name="run 1").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("run 1")
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_a_long_table_loads_by_itself_and_stays_small(page: "Page", runs: Runs) -> None:
    project = runs.server.api("projects.create", name="many")["id"]
    for number in range(420):
        runs.server.api("tasks.create", name=f"many {number}", type="training", project=project)
    page.goto(f"{runs.server.url}/projects/{project}?sort=name")
    expect(page.get_by_text("100+ runs")).to_be_visible()
    for told in ("200+ runs", "300+ runs", "400+ runs", "420 runs"):
        page.evaluate("scrollTo(0, document.body.scrollHeight)")
        expect(page.get_by_text(told)).to_be_visible()
    expect(page.get_by_role("link", name="many 99", exact=True)).to_be_visible()
    page.wait_for_function("document.querySelectorAll('tbody tr').length < 300")
    page.evaluate("scrollTo(0, 0)")
    expect(page.get_by_role("link", name="many 0", exact=True)).to_be_visible()
    runs.server.api("projects.delete", project=project, delete_contents=True, force=True)


def test_columns_of_metrics_and_parameters(page: "Page", runs: Runs) -> None:
    page.get_by_label("Columns of metrics and parameters").fill("Summary/exact_match, training/lr")
    page.keyboard.press("Tab")
    expect(page.locator("tbody tr", has_text="run 0")).to_contain_text("0.001")
    expect(page.locator("tbody tr", has_text="run 1")).to_contain_text("0.91")


@pytest.mark.parametrize("tab", TABS)
def test_each_tab_shows_what_was_reported(page: "Page", runs: Runs, tab: str) -> None:
    page.goto(runs.address(0, tab))
    expect(page.get_by_text(TABS[tab], exact=tab != "machine").first).to_be_visible()
    expect(page.locator(".tabs [aria-current=page]")).to_have_count(1)
    if tab in ("scalars", "plots", "machine"):
        expect(page.locator(".js-plotly-plot .main-svg").first).to_be_visible()


def test_pictures_have_a_slider_over_the_iterations(page: "Page", runs: Runs) -> None:
    page.goto(runs.address(0, "samples"))
    picture = page.get_by_alt_text("pictures / first")
    expect(picture).to_have_attribute("src", re.compile(r"picture%203\.png$"))
    page.wait_for_function("document.querySelector('.samples img').naturalWidth === 8")
    page.get_by_label("Iteration of pictures / first").fill("0")
    expect(picture).to_have_attribute("src", re.compile(r"picture%201\.png$"))
    expect(page.get_by_text("iteration 1", exact=True)).to_be_visible()


def test_attention_of_each_head_is_enlarged_and_read(page: "Page", runs: Runs) -> None:
    page.goto(runs.address(0, "attention"))
    expect(page.locator(".maps button")).to_have_count(8)
    expect(page.get_by_role("button", name="Enlarge Layer 1, head 2")).to_contain_text("1.00 bits")
    page.get_by_label("Layers").select_option("layers 5–6 of 6")
    expect(page.locator(".maps button")).to_have_count(4)
    page.get_by_label("Kind of attention").select_option("encoder")
    page.get_by_role("button", name="Enlarge Layer 1, head 1").click()
    picture = page.locator("dialog canvas")
    box = picture.bounding_box()
    assert box
    picture.hover(position={"x": box["width"] * 0.75, "y": box["height"] * 0.75})
    expect(page.locator("dialog")).to_contain_text(f"“{HOSTILE}” looks at “<eos>”: 75.0 %")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_have_count(0)


def test_an_artifact_is_downloaded(page: "Page", runs: Runs) -> None:
    page.goto(runs.address(0, "artifacts"))
    with page.expect_download() as found:
        page.get_by_role("link", name="table", exact=True).click()
    assert found.value.path().read_bytes() == b'{"answer": 42}'


def test_what_is_reported_meanwhile_appears_by_itself(page: "Page", runs: Runs) -> None:
    task, server = runs.ids[2], runs.server
    page.goto(runs.address(2, "console"))
    expect(page.locator(".state.live")).to_be_visible()
    server.events({"task": task, "type": "log", "msg": "a line that came later", "level": "INFO"})
    expect(page.locator(".console")).to_contain_text("a line that came later")
    page.goto(runs.address(2, "scalars"))
    expect(page.locator(".js-plotly-plot")).to_have_count(1)
    event = {"task": task, "type": "training_stats_scalar", "metric": "accuracy", "variant": "validation"}
    server.events({**event, "iter": 500, "value": 0.5})
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    expect(page.get_by_text("iteration 500")).to_be_visible()


def test_three_runs_side_by_side(page: "Page", runs: Runs) -> None:
    for number in range(3):
        page.get_by_role("checkbox", name=f"Select run {number}").check()
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("3 runs")
    scores = page.get_by_role("row").filter(has_text="Summary / exact_match")
    expect(scores.locator(".best")).to_have_text("0.92")
    differing = page.locator("section", has_text="Parameters that differ").locator("tbody tr")
    expect(differing).to_have_count(1)
    expect(differing).to_contain_text("0.003")
    expect(
        page.locator(".js-plotly-plot", has_text="loss / train").locator(".scatterlayer .trace")
    ).to_have_count(3)


def test_a_key_is_created_shown_once_and_revoked(page: "Page", runs: Runs) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"{runs.server.url}/settings")
    page.get_by_label("Label of the new key").fill("my laptop")
    page.get_by_role("button", name="Create key").click()
    shown = page.locator("pre").inner_text()
    key, secret = re.findall(r'_key" = "([^"]+)"', shown)
    assert runs.server.login(key, secret)
    row = page.get_by_role("row").filter(has_text="my laptop")
    expect(row).to_contain_text(key)
    row.get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)
    page.reload()
    expect(page.get_by_text("You and this server")).to_be_visible()
    assert secret not in page.content()


def test_a_run_is_cloned_changed_and_enqueued(page: "Page", runs: Runs) -> None:
    page.goto(runs.address(0))
    page.get_by_role("button", name="Clone").click()
    page.wait_for_url("**/configuration")
    expect(page.get_by_role("heading", level=1)).to_have_text("run 0 (clone)")
    page.get_by_label("training/lr").fill("0.05")
    page.keyboard.press("Tab")
    expect(page.get_by_text("training/lr = 0.05")).to_be_visible()
    page.get_by_role("button", name="Enqueue").click()
    expect(page.locator(".state.queued")).to_be_visible()
    (task,) = [each for each in runs.server.tasks() if each["name"] == "run 0 (clone)"]
    assert task["status"] == "queued" and task["hyperparams"]["training"]["lr"]["value"] == "0.05"
    page.goto(f"{runs.server.url}/queues")
    expect(page.get_by_role("link", name="run 0 (clone)")).to_be_visible()
    runs.server.api("tasks.delete", task=task["id"], force=True)


def test_a_run_is_archived_and_comes_back(page: "Page", runs: Runs) -> None:
    row = page.locator("tbody tr", has_text="run 1")
    row.get_by_role("checkbox").check()
    page.get_by_role("button", name="Archive", exact=True).click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(row).to_have_count(1)


def test_a_guest_looks_but_cannot_write(guest: "Page", runs: Runs) -> None:
    guest.get_by_role("checkbox", name="Select run 0").check()
    expect(guest.get_by_role("button", name="Compare")).to_be_visible()
    for name in ("Archive", "Tag", "Delete"):
        expect(guest.get_by_role("button", name=name, exact=True)).to_have_count(0)
    guest.goto(runs.address(0, "artifacts"))
    expect(guest.get_by_role("link", name="table", exact=True)).to_be_visible()
    for name in ("Clone", "Archive", "Publish", "Edit"):
        expect(guest.get_by_role("button", name=name)).to_have_count(0)
    guest.goto(f"{runs.server.url}/settings")
    expect(guest.get_by_text("guest", exact=True)).to_be_visible()
    expect(guest.get_by_role("button", name="Create key")).to_have_count(0)
    refused = guest.evaluate(
        """async (ids) => (await (await fetch("/api/v999.0/tasks.archive_many", {method: "POST",
           body: JSON.stringify({ids})})).json()).meta.result_code""",
        runs.ids[:1],
    )
    assert refused == 403
    assert "archived" not in runs.server.tasks()[0].get("system_tags", [])


def test_names_that_look_like_markup_stay_text(page: "Page", runs: Runs) -> None:
    expect(page.get_by_role("link", name=HOSTILE)).to_be_visible()
    for tab in TABS:
        page.goto(runs.address(2, tab))
        expect(page.get_by_role("heading", level=1)).to_have_text(f"run 2 {HOSTILE}")
        expect(page.locator(".tabs + div > *").first).to_be_visible()
        assert page.locator("img[src=x]").count() == 0
    page.goto(f"{runs.server.url}/compare?ids={','.join(runs.ids)}")
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    assert page.locator("img[src=x]").count() == 0


def test_a_phone_has_the_whole_width_and_no_more(browser: "Browser", runs: Runs) -> None:
    phone = {"width": 390, "height": 800}
    with opened(browser, runs.server, viewport=phone, has_touch=True) as page:
        login(page, runs.server)
        views = ["/", "/models", "/datasets", "/queues", "/settings", f"/compare?ids={','.join(runs.ids)}"]
        for address in [*(runs.server.url + view for view in views), *(runs.address(2, tab) for tab in TABS)]:
            page.goto(address)
            expect(page.locator("main[aria-busy=false]")).to_be_visible()
            assert fits(page), address


def test_dark_as_the_system_says_and_by_the_switch(browser: "Browser", runs: Runs) -> None:
    with opened(browser, runs.server, color_scheme="dark") as page:
        login(page, runs.server)

        def ground() -> str:
            return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

        dark = ground()
        page.get_by_role("button", name="Switch between light and dark").click()
        assert ground() != dark
        page.reload()
        expect(page.locator("tbody tr")).to_have_count(3)
        assert ground() != dark, "the choice is kept"


def test_everything_on_the_way_to_a_run_is_reached_by_keyboard(page: "Page", runs: Runs) -> None:
    reached: list[str] = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name = "e => (e.getAttribute('aria-label') || e.textContent || e.placeholder || e.type).trim()"
        reached.append(page.locator(":focus").evaluate(name))
        if reached[-1] == "run 0":
            break
    assert {"Runs", "Models", "Settings", "Search runs", "Log out", "Select run 0", "run 0"} <= set(reached)
    outline = page.locator(":focus").evaluate("e => getComputedStyle(e).outlineStyle")
    assert outline == "solid", "the focus is seen"
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("run 0")


def test_no_script_of_anybody_else_runs(browser: "Browser", runs: Runs) -> None:
    page = browser.new_page()
    page.goto(f"{runs.server.url}/login")
    page.evaluate(
        """() => { const script = document.createElement("script"); script.textContent = "window.ran = 1";
           document.addEventListener("securitypolicyviolation", () => { window.refused = 1; });
           document.head.append(script); }"""
    )
    page.wait_for_function("window.refused === 1 || window.ran === 1")
    assert page.evaluate("window.ran") is None
    page.close()
