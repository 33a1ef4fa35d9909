"""Every public object says what it is on one line, and data and runs show themselves in notebooks."""

import base64
import io
import re
from html.parser import HTMLParser
from inspect import isclass

import numpy as np
import pytest
import torch
from bugs import bug
from PIL import Image

import inkwash as iw
from inkwash.core import brief, storage
from inkwash.core.display import Display
from inkwash.data.pictures import save_curve, save_samples, sheet
from inkwash.training.summary import Summary

IMAGES = np.random.default_rng(3).normal(size=(40, 4, 5, 3)).astype(np.float32)
SMALL = {
    "train": iw.TrainConfig(steps=2, batch_size=4),
    "network": iw.NetworkConfig(width=8, depth=1),
    "process": iw.ProcessConfig(schedule="cosine", steps=4),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with what a report leaves in it."""
    run = iw.train(IMAGES, tmp_path_factory.mktemp("reprs") / "run", display=Display(False), report=False, **SMALL)
    model = run.model()
    summary = Summary(model.bound(IMAGES[:4], seed=0).mean(), None, None, 3.0)
    storage.replace(run.path / "summary.json", storage.dump_json(summary.to_json()))
    save_curve(run.path / "curve.png", run.metrics())
    storage.make_folder(run.path / "samples")
    for step in (1, 2):
        save_samples(run.path / "samples" / f"step-{step:09d}.png", model.units.spec, IMAGES[:step])
    return run


def objects(run):
    """An object of every public class that needs nothing, and of those that hold data, networks or tensors."""
    model, betas = run.model(), tuple(np.linspace(1e-4, 0.02, 1000).tolist())
    seen = iw.Observed(np.ones((4, 5, 3), bool), IMAGES[0])
    measured = iw.Measurement(np.eye(60), np.zeros(60), 0.1)
    for name in iw.__all__:
        if isclass(kind := getattr(iw, name)) and not issubclass(kind, torch.nn.Module):
            try:
                yield kind()
            except TypeError:
                continue
    yield from (run, run.header(), run.dataset(IMAGES), iw.load_dataset("shop"), iw.DataConfig(drop=("a",) * 50))
    yield from (model, model.units, model.units.transform, model.units.spec, model.denoiser, iw.Clipped(model.denoiser))
    yield from (seen, measured, seen * measured, model * seen, iw.Classifier(torch.sum), iw.TabulatedSchedule(betas))
    yield from (model.bound(IMAGES[:2]), model.denoiser(torch.zeros(2, 3, 4, 5), 0.5), iw.Film(model, "film.gif"))


@bug("all fields", brief, "_tells", lambda owner, item: True)
@bug("all entries", brief, "_MOST", 10**6)
def test_a_repr_is_a_line(run):
    """Two lines of a terminal at most, and no entry of an array."""
    found = list(objects(run))
    assert len(found) > 50
    for each in found:
        assert "\n" not in repr(each)
        assert len(repr(each)) <= 280, repr(each)
        assert not re.search(r"tensor\(|array\(|object at 0x", repr(each))


def test_a_repr_of_options_makes_them_again():
    for options in (
        iw.DataConfig(),
        iw.TrainConfig(steps=7, augment=("flip",)),
        iw.Config("x", data=iw.DataConfig("a")),
    ):
        assert eval(repr(options), vars(iw)) == options  # noqa: S307


class Seen(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.cells, self.pictures = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "img":
            self.pictures.append(base64.b64decode(dict(attributes)["src"].removeprefix("data:image/png;base64,")))

    def handle_data(self, data):
        self.cells.append(data)


def pixels(content):
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


def test_a_notebook_shows_the_first_examples_as_a_grid(run):
    data = iw.load_dataset(IMAGES)
    seen = Seen(data._repr_html_())
    assert np.array_equal(pixels(seen.pictures[0]), sheet(data.spec, IMAGES[:16]))
    model = run.model()
    samples = model.sample(4, seed=0, steps=2)
    assert np.array_equal(np.asarray(model.picture(samples)), sheet(model.units.spec, samples))


def test_a_notebook_shows_a_run_as_its_summary(run):
    seen = Seen(run._repr_html_())
    assert set(Summary.read(run.path / "summary.json").lines()) <= set(seen.cells)
    curve, last = (run.path / "curve.png", max((run.path / "samples").glob("step-*.png")))
    assert [*map(len, seen.pictures)] == [len(path.read_bytes()) for path in (curve, last)]


def test_a_run_without_a_checkpoint_is_shown(tmp_path):
    assert "no checkpoint yet" in iw.Run(tmp_path)._repr_html_()


@bug("texts as they are", brief.html, "escape", str)
def test_texts_are_escaped(tmp_path):
    """Names of columns and categories are texts, whatever they hold."""
    lines = ["<script>,b", *("<img src=x>,1.5" if i % 2 else "a & b,2.5" for i in range(40))]
    (tmp_path / "data.csv").write_text("\n".join(lines) + "\n")
    seen = Seen(iw.load_dataset(tmp_path / "data.csv")._repr_html_())
    assert {"script", "img"} & set(seen.tags) == set()
    assert {"<script>", "<img src=x>", "a & b"} <= set(seen.cells)
