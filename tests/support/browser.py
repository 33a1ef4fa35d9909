"""A headless browser on the studio's page."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="the page is driven by selenium")

from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1100,1300")

_NAMED = ("button", "checkbox", "combobox", "image", "link", "slider", "spinbutton", "textbox", "application", "radio")
_CONTROLS = """[...document.querySelectorAll("button, input, select, summary, a[href], canvas[tabindex]")]
    .filter((each) => each.checkVisibility() && !each.disabled)"""
_MARK = """const at = document.activeElement, style = getComputedStyle(at);
    at.seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;"""
_FAINT = r"""
    const parsed = (text) => { const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number); return [r, g, b, a]; };
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (node) => {
        for (let each = node; each; each = each.parentElement) {
            const color = parsed(getComputedStyle(each).backgroundColor);
            if (color[3] === 1) return color;
        }
    };
    const found = [];
    for (const node of document.querySelectorAll("body *")) {
        const written = [...node.childNodes].filter((each) => each.nodeType === 3).map((each) => each.data).join("");
        const text = node.matches("input:not([type=checkbox], [type=range], [type=file])") ? node.value : written;
        if (!text.trim() || !node.checkVisibility() || node.closest("noscript, option")) continue;
        const style = getComputedStyle(node);
        const color = node.closest("svg") ? style.fill : style.color;
        const [one, other] = [light(parsed(color)), light(behind(node))].sort((a, b) => b - a);
        if ((one + 0.05) / (other + 0.05) < 4.5) found.push(`${node.tagName} ${text.slice(0, 40)}`);
    }
    return found;
"""


def new_browser() -> Any:
    """Headless Chromium with its driver, both of the system; the test is skipped where they are not."""
    from shutil import which

    driver = which("chromedriver")
    if driver is None:
        pytest.skip("no chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def new_studio(run: Path, folder: Path) -> tuple[subprocess.Popen[str], str]:
    """The command in a process of its own, and the address that it prints."""
    words = [sys.executable, "-u", "-m", "inkwash", "studio", str(run), "--runs", str(folder), "--port", "0"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found
    return process, found[0]


class Page:
    """What a person does with the page.

    Args:
        driver: the browser.
        seconds: how long to wait for what should appear.
    """

    def __init__(self, driver: Any, seconds: float = 300) -> None:
        self.driver, self.seconds = driver, seconds

    def all(self, css: str) -> list[Any]:
        """What is there."""
        return self.driver.find_elements("css selector", css)

    def one(self, css: str) -> Any:
        """The first of its kind, once it is there and shown."""
        return self.wait(lambda: next((each for each in self.all(css) if each.is_displayed()), None), css)

    def wait(self, condition: Any, words: str) -> Any:
        """What the condition is, once it is true."""
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            with suppress(StaleElementReferenceException):
                if found := condition():
                    return found
            time.sleep(0.1)
        raise AssertionError(f"{words}: not there; {[each.text for each in self.all('.error') if each.text]}")

    def open(self, screen: str) -> None:
        """Go to a screen."""
        self.one(f'nav button[data-screen="{screen}"]').click()
        self.one(f'nav button[data-screen="{screen}"][aria-current=page]')

    def write(self, css: str, text: object) -> None:
        """Put a text into a field."""
        field = self.one(css)
        field.clear()
        field.send_keys(str(text))

    def ask(self, form: str) -> None:
        """Send a form, and wait for the end of the answer."""
        before = {each.id for each in self.all("section[data-state=done] > div > *")}
        self.one(f'form[aria-label="{form}"] button.main').click()
        self.wait(
            lambda: (
                self.all("section[data-state=done]")
                and {each.id for each in self.all("section[data-state=done] > div > *")} - before
            ),
            f"an answer of {form}",
        )

    def drop(self, css: str, picture: Path) -> None:
        """Drop a file onto a part of the page, as a person does with the mouse."""
        script = """
            const bytes = Uint8Array.from(atob(arguments[1]), (c) => c.charCodeAt(0)), data = new DataTransfer();
            data.items.add(new File([bytes], arguments[2], { type: "image/png" }));
            arguments[0].dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        """
        content = base64.b64encode(picture.read_bytes()).decode()
        self.driver.execute_script(script, self.one(css), content, picture.name)

    def nameless(self) -> list[str]:
        """The roles of controls and pictures that a screen reader has no name for, in the browser's own tree."""
        nodes = self.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        return [
            node["role"]["value"]
            for node in nodes
            if not node["ignored"] and node["role"]["value"] in _NAMED and not node.get("name", {}).get("value")
        ]

    def unreached(self) -> list[str]:
        """Controls that Tab does not reach, or that do not show that they have the focus."""
        self.driver.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
        wanted = self.driver.execute_script(f"return {_CONTROLS}.length")
        for _ in range(2 * wanted + 10):
            webdriver.ActionChains(self.driver).send_keys(webdriver.Keys.TAB).perform()
            self.driver.execute_script(_MARK)
        return self.driver.execute_script(
            f"return {_CONTROLS}.filter((each) => !each.seen).map((each) => each.outerHTML)"
        )

    def faint(self, theme: str) -> list[str]:
        """Texts whose contrast with what is behind them is less than 4.5 in a theme."""
        with self.themed(theme):
            return self.driver.execute_script(_FAINT)

    @contextmanager
    def themed(self, theme: str) -> Iterator[None]:
        """The page in the light or the dark theme."""
        for_theme = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", for_theme)
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})

    @contextmanager
    def wide(self, width: int) -> Iterator[None]:
        """The page on a screen so many pixels wide; one of less than 600 is a phone's."""
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            yield
        finally:
            self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def overflow(self) -> int:
        """By how many pixels the page is wider than its screen."""
        return self.driver.execute_script(
            "const page = document.documentElement; return page.scrollWidth - page.clientWidth"
        )

    def shot(self, width: int, height: int) -> bytes:
        """The upper part of the page as a PNG."""
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        options = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        return base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", options)["data"])

    def complaints(self) -> list[str]:
        """What the console says."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
