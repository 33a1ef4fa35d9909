"""Make the pictures of docs/studio.md: a headless browser opens the page, asks, and takes them.

    PYTHONPATH=tests/support python docs/screenshots.py runs/digits runs/shop

The first run is of pictures, and the second of a table; both lie in one folder.
"""

import io
import signal
import sys
from pathlib import Path

from browser import Page, new_browser, new_studio
from PIL import Image

FOLDER = Path(__file__).parent / "assets" / "studio"


def main(pictures: Path, table: Path) -> None:
    process, address = new_studio(pictures, pictures.parent)
    driver = new_browser()
    try:
        driver.get(address)
        for screen in (walk, inpaint, bits, fill):
            screen(Page(driver, 600), table.name)
    finally:
        driver.quit()
        process.send_signal(signal.SIGINT)
        process.wait(60)


def keep(page: Page, name: str, height: int, theme: str = "light", width: int = 1000) -> None:
    """Write what the page shows, in 256 colours."""
    FOLDER.mkdir(exist_ok=True)
    with page.themed(theme), page.wide(width):
        picture = Image.open(io.BytesIO(page.shot(width, height))).convert("RGB")
    picture.quantize(256).save(FOLDER / f"{name}.png", optimize=True)


def walk(page: Page, table: str) -> None:
    page.open("Walk")
    page.write('form[aria-label="settings A"] [name=steps]', 50)
    page.ask("settings A")
    page.one("figure > svg")
    middle = "const at = document.querySelector('main input[type=range]'); at.value = Math.floor(at.max / 2);"
    page.driver.execute_script(f"{middle} at.dispatchEvent(new Event('input'))")
    keep(page, "walk", 970)


def inpaint(page: Page, table: str) -> None:
    page.open("Inpaint")
    page.wait(lambda: page.all(".pick button"), "the held-out examples")
    next(each for each in page.all("main button") if each.text == "Hide the lower half").click()
    page.ask("inpainting")
    keep(page, "inpaint", 1240, "dark")


def bits(page: Page, table: str) -> None:
    page.open("Bits")
    page.wait(lambda: page.all(".pick button"), "the held-out examples")
    page.all(".pick button")[2].click()
    page.ask("Likelihood")
    page.wait(lambda: len(page.all("canvas.heat")) == 2, "maps")
    keep(page, "bits", 1760)


def fill(page: Page, table: str) -> None:
    page.open("Runs")
    page.one(f'button[aria-label="Open {table}"]').click()
    page.open("Fill in")
    page.wait(lambda: page.one(".cells input").get_attribute("value"), "a row")
    for cell in page.all(".cells input")[:2]:
        cell.clear()
    page.ask("Fill in")
    keep(page, "fill", 1100, width=390)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
