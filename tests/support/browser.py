"""A headless browser on the studio's page."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="the page is driven by selenium")

from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402

_FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1100,1300")


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

    def __init__(self, driver: Any, seconds: float = 120) -> None:
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

    def complaints(self) -> list[str]:
        """What the console says."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
