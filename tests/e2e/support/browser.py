"""A real headless browser: Chromium, driven over the protocol of chromedriver (W3C WebDriver)."""

import base64
import contextlib
import http.client
import json
import pathlib
import shutil

import ports
import processes

from .waiting import Refusal, wait_until

# The key of an element in WebDriver's JSON.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "Tab": "\ue004"}


def installed() -> bool:
    return bool(shutil.which("chromedriver")) and bool(shutil.which("chromium"))


class BrowserError(Refusal):
    """An error that chromedriver answers."""


class Browser:
    """One browser window."""

    def __init__(self, folder: pathlib.Path, *, width: int = 1280, height: int = 900, dark: bool = False):
        folder.mkdir(parents=True, exist_ok=True)
        self._port = ports.free_ports(1)[0]
        self._driver = processes.spawn(
            ["chromedriver", f"--port={self._port}", "--allowed-ips=127.0.0.1"],
            log=folder / "chromedriver.log",
            outlive=False,
        )
        arguments = [
            "--headless=new",
            "--no-sandbox",  # tests run as root, in containers without user namespaces
            "--disable-dev-shm-usage",
            "--disable-gpu",
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},{height}",
            "--hide-scrollbars",
            "--no-first-run",
        ]
        if dark:
            arguments.append("--blink-settings=preferredColorScheme=0")
        options = {"binary": shutil.which("chromium"), "args": arguments}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        wait_until(lambda: self._ask("GET", "/status")["ready"], 20, "chromedriver", every=0.05)
        self._session = (
            f"/session/{self._ask('POST', '/session', {'capabilities': {'alwaysMatch': wanted}})['sessionId']}"
        )

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._ask("DELETE", self._session)
        self._driver.terminate()
        self._driver.wait(10)

    def _ask(self, method: str, path: str, data: dict | None = None):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            body = None if method != "POST" else json.dumps(data or {})
            connection.request(method, path, body, {"Content-Type": "application/json"})
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise BrowserError(f"{value['error']}: {value['message'].splitlines()[0]}")
        return value

    def open(self, url: str) -> None:
        self._ask("POST", f"{self._session}/url", {"url": url})

    def resize(self, width: int, height: int) -> None:
        """The page's own size, as a phone has it."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._command("Emulation.setDeviceMetricsOverride", metrics)

    def prefer(self, scheme: str) -> None:
        """Sets the colour scheme that the system prefers: `dark` or `light`."""
        self._command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def _command(self, name: str, params: dict):
        return self._ask("POST", f"{self._session}/goog/cdp/execute", {"cmd": name, "params": params})

    def run(self, script: str, *arguments):
        """Runs a script and returns its result."""
        return self._ask("POST", f"{self._session}/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str = "body") -> str:
        # Of an element that is not shown, such as a closed dialog, `innerText` would be the complete text.
        script = """
            const element = document.querySelector(arguments[0]);
            return element?.checkVisibility() ? element.innerText : '';
        """
        return self.run(script, selector)

    def _element(self, using: str, value: str) -> str:
        return self._ask("POST", f"{self._session}/element", {"using": using, "value": value})[ELEMENT]

    def click(self, selector: str) -> None:
        element = self._element("css selector", selector)
        self._ask("POST", f"{self._session}/element/{element}/click")

    def type(self, selector: str, text: str) -> None:
        element = self._element("css selector", selector)
        self._ask("POST", f"{self._session}/element/{element}/value", {"text": text})

    def press(self, *names: str) -> None:
        """Sends keys to the element that has the focus."""
        actions = []
        for name in names:
            value = KEYS.get(name, name)
            actions += [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self._ask("POST", f"{self._session}/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def wait_text(self, text: str, selector: str = "body", timeout: float = 60.0) -> str:
        def there():
            shown = self.text(selector)
            assert text in shown, f"{selector} shows {shown[-600:]!r}"
            return shown

        return wait_until(there, timeout, f"{text!r} on the page")

    def errors(self) -> list[str]:
        """Entries of the console: failed scripts, violations of the content policy."""
        entries = self._ask("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def screenshot(self, path: pathlib.Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Pictures are for people, so wait until animations have ended.
        self.run("return Promise.allSettled(document.getAnimations().map((each) => each.finished))")
        path.write_bytes(base64.b64decode(self._ask("GET", f"{self._session}/screenshot")))
