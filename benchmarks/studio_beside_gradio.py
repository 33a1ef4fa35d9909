"""Measure a page that draws samples of a run: the studio, and one made with gradio in a Python that has it.

    PYTHONPATH=tests/support python benchmarks/studio_beside_gradio.py runs/digits --python gradio/bin/python

`--python` is an interpreter with inkwash and gradio. A headless browser opens each page as soon as its server has
printed its address, asks for 16 samples in 50 steps, and waits until it shows the picture. The weight is what it
received by then.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from browser import Page, new_browser

GRADIO = """
import os, sys
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
import gradio
import inkwash as iw
from inkwash.data.pictures import sheet
model = iw.load(sys.argv[1])
draw = lambda: sheet(model.transform.spec, model.sample(16, seed=0, steps=50))
with gradio.Blocks() as page:
    picture, button = gradio.Image(label="samples"), gradio.Button("Sample")
    button.click(draw, None, picture)
page.launch(server_name="127.0.0.1")
"""
RECEIVED = """return performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
    .reduce((sum, each) => sum + each.transferSize, 0)"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a run of pictures")
    parser.add_argument("--python", required=True, help="an interpreter that has inkwash and gradio")
    parser.add_argument("--repeats", type=int, default=3, help="how often to start each, in turns")
    options = parser.parse_args()
    studio = [sys.executable, "-u", "-m", "inkwash", "studio", str(options.run), "--port", "0"]
    pages = {
        "studio": (studio, ask_studio),
        "gradio": ([options.python, "-u", "-c", GRADIO, str(options.run)], ask_gradio),
    }
    driver = new_browser()
    try:
        for _ in range(options.repeats):
            for name, (words, ask) in pages.items():
                print(json.dumps({"page": name, **measured(driver, words, ask)}), flush=True)
    finally:
        driver.quit()


def measured(driver, words, ask) -> dict[str, float]:
    """Seconds from the command to the address and to the first picture, and the kilobytes that the browser received."""
    driver.get("about:blank")
    driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    start = time.perf_counter()
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+", line)))
        started = time.perf_counter() - start
        driver.get(address)
        ask(Page(driver, 300))
        drawn = time.perf_counter() - start
        received = driver.execute_script(RECEIVED)
        return {"seconds_to_the_address": started, "seconds_to_the_picture": drawn, "kilobytes": received / 1000}
    finally:
        server.terminate()
        server.wait(60)


def ask_studio(page) -> None:
    page.write('form[aria-label="settings A"] [name=steps]', 50)
    page.one('form[aria-label="settings A"] button.main').click()
    page.one('a[download="samples.npy"]')


def ask_gradio(page) -> None:
    page.wait(lambda: next((each for each in page.all("button") if each.text == "Sample"), None), "the button").click()
    page.wait(lambda: page.all("img[src*='/file=']"), "the picture")


if __name__ == "__main__":
    main()
