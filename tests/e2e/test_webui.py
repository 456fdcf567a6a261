"""The status page in a real browser. Screenshots are kept in the folder of the logs, for people."""

import pytest
from pymilvus import utility

from support import browser as browsers
from support.artefacts import logs_folder
from support.browser import Browser
from support.cdc import scope
from support.network import Relay
from support.node import simple_rows
from support.oracle import wait_same_rows
from support.waiting import wait_until
from test_first_copy import forget_log

TOKEN = "t0ken-of-the-page"

pytestmark = pytest.mark.skipif(not browsers.installed(), reason="chromium and chromium-driver are not installed")


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    one = Browser(tmp_path_factory.mktemp("browser"))
    yield one
    one.close()


@pytest.fixture
def page(window, cdc):
    """The page of the server under test. Its console must be empty at the end."""
    window.resize(1280, 900)
    window.prefer("light")
    window.open(f"http://127.0.0.1:{cdc.port}/webui")
    yield window
    complaints = leave(window)
    assert not complaints, complaints


def leave(window) -> list[str]:
    """Closes the page, which would otherwise poll a stopped server every two seconds and spoil the console of the next
    test. Returns the entries of the console."""
    complaints = window.errors()
    window.open("about:blank")
    return complaints


def picture(window, name: str) -> None:
    window.screenshot(logs_folder() / "pictures" / f"{name}.png")


def show_task(window, task) -> None:
    window.run(f"location.hash = '#task/{task.id}'")
    wait_until(lambda: task.id in window.text("#detail h2"), 10, "the task's own view")


def answer(window, button: str) -> str:
    """Presses the button of a dialog; returns the text of the dialog, which may have to ask the server first."""
    said = wait_until(lambda: window.text("dialog[open]"), 10, "the dialog")
    window.click(f"dialog[open] {button}")
    return said


def test_a_task_from_its_beginning_to_its_end(page, cdc, source, target, name):
    source.create(name).insert(simple_rows(range(300)))
    page.wait_text("No tasks yet")
    picture(page, "empty")
    page.press("n")
    page.type("[name=uri]", target.uri)
    page.type("[name=task_id]", "standby")
    page.type("[name=collections]", name)
    page.click("#create-check")
    page.wait_text("1 of the source can be carried over", "#create-findings", 30)
    assert page.run("return document.activeElement.id") == "create-go", "what comes next has the focus"
    picture(page, "create")
    page.press("Enter")
    page.wait_text("Following", "#detail .head", 30)
    wait_same_rows(source, target, name, expect=300)
    page.wait_text(f"default.{name}", "#detail table")
    page.wait_text("created the collection", "#detail")
    page.wait_text("rocksmq", "#detail")
    for side in ["Source", "Target"]:
        page.wait_text(f"{side}'s version: v2.3.5", "#detail")
    page.wait_text("Target: collections with autoID are made without it here", "#detail")
    picture(page, "task")

    page.click("#detail .head button:not(.back):not(.danger)")
    assert "log for a limited time" in answer(page, "#ask-yes")
    page.wait_text("Paused", "#detail .head")
    assert cdc.ask("get", task_id="standby")["task"]["state"] == "Paused"
    page.click("#detail .head button:not(.back):not(.danger)")
    assert "goes on where it stopped" in answer(page, "#ask-yes")
    page.wait_text("Following", "#detail .head", 30)

    page.click("#detail .danger")
    said = answer(page, "button[value=no]")
    assert "Both servers keep all their data" in said and "cannot be undone" in said
    assert len(cdc.ask("list")["tasks"]) == 1, "no is no"
    page.click("#detail .danger")
    picture(page, "delete")
    answer(page, "#ask-yes")
    page.wait_text("No tasks yet")
    assert cdc.ask("list")["tasks"] == []
    assert page.run("return location.hash") in ("", "#")


def test_trouble_says_what_to_do(page, cdc, source, target, name):
    for node, dim in ((source, 8), (target, 16)):
        node.create(name, dim=dim)
    cdc.create(target, scope(name), task_id="conflict")
    shown = page.wait_text("another schema", "#list", 30)
    assert "Retrying" in shown and "drop or rename one of them" in shown, shown
    picture(page, "held")
    page.press("n")
    page.type("[name=uri]", target.uri)
    page.type("[name=collections]", f"{name}\nmissing")
    page.click("#create-check")
    page.wait_text("✗", "#create-findings", 30)
    assert page.text("#create-go") == "Create anyway", "a problem does not look like an invitation"
    picture(page, "create-problem")
    page.type("[name=collections]", "x")
    assert page.text("#create-findings") == "", "a changed request is not checked yet"


def test_held_drops_are_decided(page, cdc, source, target, name):
    names = [f"{name}_{one}" for one in range(3)]
    task = cdc.create(target, scope("*"))
    for one in names:
        source.create(one).insert(simple_rows(range(5)))
        wait_same_rows(source, target, one, expect=5)
    show_task(page, task)
    for one in names:
        utility.drop_collection(one, using=source.using())
    page.wait_text("HELD DROPS (3)", "#detail", 30)
    picture(page, "held-drops")
    page.click("#detail .buttons .ghost")
    said = answer(page, "#ask-yes")
    assert "stays on the target" in said and all(f"default.{one}" in said for one in names), said
    wait_until(lambda: not cdc.ask("drops", task_id=task.id)["drops"], 30, "the decision")
    assert set(names) <= set(target.collections())


def test_a_copy_has_a_bar(page, cdc, source, target, relay, name):
    made = source.create(name, dim=64)
    for first in range(0, 40_000, 10_000):
        made.insert(simple_rows(range(first, first + 10_000), dim=64))
    forget_log(source, name)
    relay.stall_after(5_000_000)
    cdc.create(target, scope(name), uri=relay.uri)
    page.wait_text("of 40,000 rows", "#list")
    # The page may poll before the first rows are acknowledged; the copy stalls after them.
    share = "return document.querySelector('#list progress')?.value"
    wait_until(lambda: 0 < (page.run(share) or 0) < 1, 60, "a bar that has begun and not ended")
    picture(page, "copying")
    relay.flow()
    wait_same_rows(source, target, name, expect=40_000, timeout=60)
    page.wait_text("Following", "#list")


def test_keyboard_alone(page, cdc, source, target, name):
    task = cdc.create(target, scope(name), task_id="keys")
    page.wait_text("keys", "#list")
    page.run("document.querySelector('#new').focus()")
    page.press("Tab", "Enter")
    wait_until(lambda: page.text("#detail h2") == task.id, 10, "the task, opened by Enter")
    focused = page.run("return document.activeElement.className")
    assert "task" in focused, "what is shown anew every two seconds keeps the focus"
    page.press("Escape")
    wait_until(lambda: page.run("return document.querySelector('#detail').hidden"), 10, "the list alone")
    page.press("n")
    wait_until(lambda: page.run("return document.querySelector('#create').open"), 5, "the dialog")
    page.press("Escape")
    assert not page.run("return document.querySelector('#create').open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 820, 1280])
def test_every_width_and_both_colours(page, cdc, source, target, name, width, scheme):
    source.create(name)
    task = cdc.create(target, scope(name), task_id="a-task-with-a-rather-long-name-that-must-wrap-somewhere")
    page.resize(width, 844)
    page.prefer(scheme)
    page.wait_text("Following", "#list", 30)
    wide = "return document.documentElement.scrollWidth"
    assert page.run(wide) <= width, "the list is wider than the window"
    picture(page, f"list-{scheme}-{width}")
    show_task(page, task)
    page.wait_text("Last events".upper(), "#detail")
    assert page.run(wide) <= width, "the task is wider than the window"
    picture(page, f"task-{scheme}-{width}")
    ground = page.run("return getComputedStyle(document.body).backgroundColor")
    bright = sum(int(part) for part in ground[4:-1].split(",")) > 3 * 128
    assert bright == (scheme == "light"), ground


def test_names_are_text(page, cdc, source, target):
    """A name that looks like HTML stays a name."""
    cdc.ask(
        "create", milvus_connect_param={"uri": target.uri}, collection_infos=[{"name": "<img src=x onerror=alert(1)>"}]
    )
    page.wait_text("<img src=x onerror=alert(1)>", "#list")
    assert page.run("return document.querySelectorAll('#list img').length") == 0


def test_a_server_that_goes_away(page, cdc, source, target, name):
    cdc.create(target, scope(name), task_id="lonely")
    page.wait_text("lonely", "#list")
    cdc.terminate()
    page.wait_text("The server does not answer", "#link")
    assert "lonely" in page.text("#list"), "what was known stays"
    picture(page, "away")
    cdc.start()
    wait_until(lambda: page.text("#link") == "", 15, "the connection to be back")
    page.errors()  # what a browser says about refused connections


def test_token(window, make_cdc, source, target, name):
    """Asked for once, and wrong ones again."""
    cdc = make_cdc(source, api={"token": TOKEN})
    cdc.launch()
    wait_until(lambda: "ok" in cdc.get_text("/healthz"), 20, "the server")
    window.resize(1280, 900)
    window.prefer("light")
    window.open(f"http://127.0.0.1:{cdc.port}/webui")
    window.wait_text("This server asks for a token", "#login")
    picture(window, "token")
    window.type("#login-token", "wrong")
    window.press("Enter")
    window.wait_text("This is not the right one", "#login")
    window.type("#login-token", TOKEN)
    window.press("Enter")
    window.wait_text("No tasks yet")
    window.open(f"http://127.0.0.1:{cdc.port}/webui")
    window.wait_text("No tasks yet")
    assert not window.run("return document.querySelector('#login').open"), "asked for once"
    assert TOKEN not in window.run("return JSON.stringify(localStorage)"), "it does not outlive the tab"
    leave(window)  # and what a browser says about 401


def test_pages_of_other_sites_cannot_send_commands(window, cdc, source, target, tmp_path):
    """A page of another site in the same browser: its request does not reach the API, and it can read no answer."""
    window.open("data:text/html,<title>evil</title>")
    data = {
        "request_type": "create",
        "request_data": {"milvus_connect_param": {"uri": target.uri}, "collection_infos": [{"name": "*"}]},
    }
    sent = """
        const headers = {'Content-Type': 'text/plain'};
        return fetch(arguments[0], {method: 'POST', body: JSON.stringify(arguments[1]), headers})
            .then((answer) => answer.text(), (error) => 'refused: ' + error);
    """
    said = window.run(sent, f"http://127.0.0.1:{cdc.port}/cdc", data)
    assert said.startswith("refused"), said
    assert cdc.ask("list")["tasks"] == []
    window.errors()


def test_a_failover_step_by_step(window, make_cdc, source, target, name):
    """The server reaches its source through a relay that is cut: the log still grows, so only force comes to an end."""
    relay = Relay(source.server.port)
    cdc = make_cdc(source, milvus={"uri": relay.uri, "connectTimeout": 2}).start()
    task = cdc.create(target, scope(name))
    source.create(name).insert(simple_rows(range(5)))
    wait_same_rows(source, target, name, expect=5)
    window.resize(1280, 900)
    window.open(f"http://127.0.0.1:{cdc.port}/webui")
    show_task(window, task)
    relay.cut()
    window.wait_text("IS THE SOURCE GONE FOR GOOD?", "#detail", 30)
    window.click("#detail .buttons .danger")
    assert "cannot be undone" in answer(window, "#ask-yes")
    window.wait_text("FAILING OVER", "#detail", 30)
    picture(window, "failing-over")
    window.click("#detail .buttons .danger")
    answer(window, "#ask-yes")
    said = window.wait_text("may be missing", "#detail", 60)
    assert "The target is the primary now" in said and "FAILED OVER" in said, said
    picture(window, "failed-over")
    relay.close()
    assert leave(window) == []
