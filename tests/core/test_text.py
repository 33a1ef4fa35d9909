"""Text from outside cannot steer a terminal or a page, and fits on a line."""

import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from bugs import bug
from faults import run_cli

from inkwash.core import text
from inkwash.core.text import shortened, typed, visible

HOSTILE = "a\x1b[31m\x9b2J\x07\x08\u202eb\u2066c\x7f"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


@bug("controls pass", text, "_UNSEEN", {"Cf"})
@bug("marks of direction pass", text, "_UNSEEN", {"Cc"})
def test_what_steers_becomes_an_escape_and_the_rest_stays():
    assert visible(HOSTILE) == r"a\x1b[31m\x9b2J\x07\x08\u202eb\u2066c\x7f"
    plain = "Zeile 1\n\tÄpfel, 学習, نص, a\u200db"
    assert visible(plain) == plain


def test_a_shell_reads_a_command_as_the_words_that_it_was_made_of():
    """The oracle is sh: it hands the words to a program that prints them."""
    words = ["my runs/a b", "it's", "$HOME", "*", "é", "", "-n", 64]
    name, line = typed(*words).split(" ", 1)
    code = "import sys; print(sys.argv[1:])"
    said = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{code}" {line}'], capture_output=True, text=True, check=True
    )
    assert (name, said.stdout.strip()) == ("inkwash", str([str(word) for word in words]))


def test_what_is_shown_of_a_value_fits_on_a_line():
    nines = "9" * 5000
    assert shortened(10**40 - 1) == nines[:40]
    assert shortened(-(10**5000)) == "an integer of more than 40 digits"
    assert len(shortened(nines)) < 410
    assert shortened(nines[:400]) == nines[:400]


class Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_data(self, data):
        self.found.append(data)


@pytest.mark.slow
def test_hostile_names_reach_neither_terminal_nor_report(tmp_path, capsys):
    random, names = np.random.default_rng(0), [f"{HOSTILE}{i}" for i in range(2)]
    table = pd.DataFrame({names[0]: random.normal(size=60), names[1]: random.choice(["x", f"y{HOSTILE}"], 60)})
    table.to_csv(tmp_path / "t.csv", index=False)
    run = tmp_path / "run\x1b[2J"
    assert run_cli(["train", tmp_path / "t.csv", "--out", run, "--train.steps", "5", "--network.width", "8"]) == 0
    assert run_cli(["evaluate", run, "--examples", "10", "--bound-terms", "2", "--steps", "2", "--imputed", "0"]) == 0
    assert run_cli(["sample", run, "-n", "4", "--steps", "2", "--out", tmp_path / "drawn\x07"]) == 0
    assert run_cli(["sample", run, "--label", HOSTILE]) == 2
    shown = capsys.readouterr()
    assert not STEERING.search(shown.out + shown.err)
    report = Texts()
    report.feed((run / "evaluation" / "report.html").read_text())
    assert not STEERING.search("".join(report.found))
    assert list(pd.read_csv(tmp_path / "drawn\x07" / "samples.csv").columns) == names  # the data stays as it is
