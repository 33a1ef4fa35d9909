"""A person at the page: every screen is opened, and what it shows is what the command line makes."""

import base64
import io
import signal

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("selenium", reason="the page is driven by selenium")

from browser import Page, new_browser, new_studio
from selenium.webdriver.common.keys import Keys

from inkwash.training.run import Run, load


@pytest.fixture(scope="module")
def page(runs):
    process, address = new_studio(runs / "pictures", runs)
    driver = new_browser()
    driver.get(address)
    opened = Page(driver)
    opened.one('nav button[data-screen="Inpaint"]')  # the first run is open
    yield opened
    driver.quit()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    process.stdout.close()


def downloaded(page, name):
    """The array behind a link."""
    address = page.wait(lambda: page.all(f'a[download="{name}"]'), name)[-1].get_attribute("href")
    return np.load(io.BytesIO(base64.b64decode(address.partition(",")[2])), allow_pickle=False)


def test_a_person_sees_what_the_library_says(page, runs):
    page.open("Walk")
    page.write('form[aria-label="settings A"] [name=n]', 3)
    page.write('form[aria-label="settings A"] [name=seed]', 7)
    page.ask("settings A")
    assert np.array_equal(downloaded(page, "samples.npy"), load(runs / "pictures").sample(3, seed=7))
    assert page.one("details pre").text == f"inkwash sample {runs / 'pictures'} -n 3 --seed 7"

    page.open("Inpaint")
    canvas = page.one("canvas")
    page.wait(lambda: len(page.all(".pick button")) == 4, "the held-out examples")
    canvas.click()
    assert page.one("canvas + .quiet").text == "1 of 24 places are hidden"
    page.write("form[aria-label=inpainting] [name=n]", 2)
    page.write("form[aria-label=inpainting] [name=steps]", 3)
    page.ask("inpainting")
    known, draws = downloaded(page, "mask.npy"), downloaded(page, "draws.npy")
    assert known.sum() == 23
    held_out = Run(runs / "pictures").dataset().data[Run(runs / "pictures").split()[1]]
    assert np.array_equal(draws[:, known], np.broadcast_to(held_out[0][known], (2, 23)))

    page.open("Between")
    page.write("form[aria-label=Interpolate] [name=n]", 3)
    page.ask("Interpolate")
    assert downloaded(page, "interpolation.npy").shape == (3, 4, 6)
    page.open("Bits")
    page.ask("Likelihood")
    page.wait(lambda: len(page.all("svg[role=img]")) == 2 and len(page.all("canvas.heat")) == 2, "charts and maps")
    assert page.complaints() == []


def test_a_dropped_picture_is_asked_about(page, runs, tmp_path):
    """A grey PNG of the model's size arrives as its pixels."""
    pixels = (10 * np.arange(24).reshape(4, 6)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "own.png")
    for screen, form in (("Inpaint", "inpainting"), ("Bits", "Likelihood")):
        page.open(screen)
        page.wait(lambda: len(page.all(".pick button")) == 4, "the held-out examples")
        page.drop("label.drop", tmp_path / "own.png")
        if screen == "Inpaint":
            next(each for each in page.all("main button") if each.text == "Hide the left half").click()
            page.write("form[aria-label=inpainting] [name=steps]", 3)
        else:
            page.one("canvas.heat")
        page.ask(form)
        assert np.array_equal(downloaded(page, "example.npy"), pixels)
    assert page.complaints() == []


def test_an_example_that_is_not_there_is_refused_at_once(page):
    page.open("Inpaint")
    page.wait(lambda: len(page.all(".pick button")) == 4, "the held-out examples")
    page.write(".picker input", f"999{Keys.TAB}")
    page.wait(lambda: "got 999" in page.one(".error").text, "what is wrong")
    page.all(".pick button")[1].click()
    page.wait(lambda: not any(each.text for each in page.all(".error")), "no error")
    assert page.complaints() == []


def test_names_of_categories_are_shown_as_they_are(page):
    """They may look like numbers: `01` is not 1."""
    page.open("Runs")
    page.one('button[aria-label="Open rows"]').click()
    page.one("form[aria-label='settings A']")
    page.ask("settings A")
    page.wait(lambda: {each.text for each in page.all("section td:last-child")} == {"01", "f"}, "the names")
    page.open("Runs")
    page.one('button[aria-label="Open pictures"]').click()
    page.one('nav button[data-screen="Inpaint"]')


@pytest.mark.parametrize("screen", ["Runs", "Walk", "Inpaint", "Between", "Bits", "Lecture"])
def test_keyboards_and_screen_readers_reach_every_control(page, screen):
    page.open(screen)
    if screen in ("Inpaint", "Between", "Bits"):
        page.wait(lambda: len(page.all(".pick button")) == 4 * len(page.all(".pick")), "the held-out examples")
    assert page.nameless() == []
    assert page.unreached() == []
    assert page.faint("light") == page.faint("dark") == []
    with page.wide(390):
        assert page.overflow() <= 0


def test_what_keyboards_and_screen_readers_lack_is_noticed(page):
    page.open("Runs")
    page.driver.execute_script("""
        const [button, input, text] = ["button", "input", "p"].map((tag) => document.createElement(tag));
        Object.assign(button, { ariaLabel: "", textContent: "" });
        Object.assign(input, { ariaLabel: "reached by mouse only", tabIndex: -1 });
        text.textContent = "faint";
        Object.assign(text.style, { color: "#999999", backgroundColor: "#ffffff", width: "5000px" });
        document.getElementById("screen").replaceChildren(button, input, text);
    """)
    assert page.nameless() == ["button"]
    assert len(page.unreached()) == 1
    assert page.faint("dark") == ["P faint"]
    assert page.overflow() > 0


def test_the_lecture_speaks_two_languages(page):
    page.open("Lecture")
    for form in page.all("main form"):
        page.ask(form.get_attribute("aria-label"))
    assert len(page.all("main svg[role=img]")) == 18
    page.one("main button[lang=zh]").click()
    assert "前向过程" in page.one("main h2").text
    assert page.complaints() == []


def test_a_run_is_trained_and_its_table_filled_in(page, runs):
    page.open("Runs")
    page.one("section[aria-label=train] summary").click()
    page.write("[name=name]", "moons")
    page.driver.execute_script("document.querySelector('[name=source]').value = 'two-moons'")
    for name, value in (("train.steps", 3), ("network.width", 8)):
        page.write(f'[name="{name}"]', value)
    page.one("form[aria-label=training] button.main").click()
    page.one("section[data-state=ended]")
    assert Run(runs / "moons").header().step == 3
    page.one('button[aria-label="Open rows"]').click()
    page.open("Fill in")
    page.wait(lambda: page.one(".cells input").get_attribute("value"), "a row")
    page.one(".cells input").clear()
    page.write('form[aria-label="Fill in"] [name=n]', 5)
    page.ask("Fill in")
    assert page.one("section[data-state=done] tbody th").text == "age"
    assert page.complaints() == []


def test_an_error_on_a_row_goes_with_a_row_that_there_is(page):
    page.open("Runs")
    page.one('button[aria-label="Open rows"]').click()
    page.open("Fill in")
    row = "label > input[min='0']"
    page.write(row, f"999{Keys.TAB}")
    page.wait(lambda: "got 999" in page.one(".error").text, "what is wrong")
    page.write(row, f"1{Keys.TAB}")
    page.wait(lambda: not any(each.text for each in page.all(".error")), "no error")


def test_no_run_is_a_choice_and_a_run_that_cannot_be_opened_is_said_in_colour(page):
    def choose(name):
        script = (
            "const it = document.getElementById('run'); it.value = arguments[0]; it.dispatchEvent(new Event('change'))"
        )
        page.driver.execute_script(script, name)

    choose("rows")
    page.one('nav button[data-screen="Fill in"]')
    choose("")
    page.wait(lambda: [each.text for each in page.all("nav button")] == ["Runs", "Lecture"], "two screens")
    assert page.all("#about")[0].text == ""
    page.driver.execute_script("document.getElementById('run').add(new Option('gone', 'gone'))")
    choose("gone")
    page.wait(lambda: page.all("#about")[0].get_attribute("class") == "error", "what is wrong")
    choose("pictures")
    page.one('nav button[data-screen="Inpaint"]')
    assert page.one("#about").get_attribute("class") == ""
