"""What is pushed comes back: the real huggingface_hub talks to a stand-in for the Hub on this machine."""

import json
import sys

import numpy as np
import pytest
from bugs import bug
from faults import points, run_cli, tiny, without_pictures
from hub_server import TOKEN, Hub, serving

import inkwash as iw
from inkwash.bridges import hub as pushing
from inkwash.training import remote
from inkwash.training.fit import fit
from inkwash.training.run import Run

huggingface_hub = pytest.importorskip("huggingface_hub", reason="pip install 'inkwash[hub]'")
from huggingface_hub import constants, file_download, hf_api  # noqa: E402


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose data lies where no stranger should know of, with an evaluation."""
    folder = tmp_path_factory.mktemp("secret")
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        data = points(folder / "points.npy")
        made = fit(tiny(data, steps=3), folder / "run").path
    (made / "evaluation").mkdir()
    found = dict.fromkeys(pushing._FIGURES) | {
        "bound": {"held_out": {"total": 1.25, "unit": "nats"}},
        "step": 3,
        "data": str(data),
    }
    (made / "evaluation" / "evaluation.json").write_text(json.dumps(found | {"warnings": ["it <b>copies</b>"]}))
    (made / "evaluation" / "report.html").write_text(f"<pre>inkwash evaluate {made}</pre>")
    (made / "evaluation" / "columns.png").write_bytes(b"a picture")
    return made


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The stand-in, which huggingface_hub takes for the Hub, with an empty cache and a token."""
    hub = Hub()
    server = serving(hub)
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    for module in (constants, file_download):  # in old versions, the second has a copy of its own
        address = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", address, raising=False)
    monkeypatch.setattr(hf_api.api, "endpoint", server.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    remote._fetched.cache_clear()
    hub.stop = server.server_close
    yield hub
    server.shutdown()
    server.server_close()


@bug("the commit is not printed", remote.Display, "say", lambda self, text: None)
def test_a_name_with_a_revision_is_the_model_that_was_pushed(run, hub, monkeypatch, capsys):
    first = iw.bridges.push(run, "me/points")
    own = Run(run).model().sample(5, seed=1)
    other = {name: content for name, content in hub.repositories["me/points"][-1].items() if "checkpoints" not in name}
    hub.repositories["me/points"].append(other)  # a later commit, without a model
    assert np.array_equal(iw.load(first).sample(5, seed=1), own)
    assert f"fetched   {first} → " in capsys.readouterr().out
    assert [part.tolist() for part in Run(first).split()] == [part.tolist() for part in Run(run).split()]
    with pytest.raises(iw.CheckpointError, match="got a repository without checkpoints, need a run"):
        iw.load("hf:me/points")


def test_a_push_replaces_the_checkpoint_and_holds_no_path_and_no_code(run, hub):
    """Only JSON and safetensors beside the card and the evaluation; of the source of the data, only its name."""
    iw.bridges.push(run, "hf:me/points")
    files = hub.repositories["me/points"][-1]
    hub.repositories["me/points"].append({**files, "checkpoints/step-000000009/header.json": b"{}"})
    iw.bridges.push(run, "me/points", private=True)
    assert hub.repositories["me/points"][-1] == files
    assert {name.rpartition(".")[2] for name in files} == {"json", "safetensors", "md", "png"}
    assert not any(str(run.parent).encode() in content for content in files.values())
    assert {name for name in files if name.startswith("checkpoints")} == {
        f"checkpoints/step-000000003/{name}" for name in ("header.json", "manifest.json", "average.safetensors")
    }
    assert json.loads(files["evaluation/evaluation.json"])["data"] == "points.npy"


def test_a_single_checkpoint_is_pushed_as_the_model_that_it_is(run, hub):
    """Not the newest one, without the split and the evaluation, which are the run's."""
    first = min((run / "checkpoints").iterdir())
    name = iw.bridges.push(first, "me/first")
    own = iw.load(first).sample(4, seed=2)
    assert np.array_equal(iw.load(name).sample(4, seed=2), own)
    assert not np.array_equal(iw.load(run).sample(4, seed=2), own)
    files = hub.repositories["me/first"][-1]
    assert {name.partition("/")[0] for name in files} == {"README.md", "config.json", "checkpoints"}
    assert "Evaluation" not in files["README.md"].decode()


def test_no_option_says_where_a_file_lies():
    data = iw.DataConfig(labels="/secret/labels.npy", condition="below/c.npy")
    shown = pushing._without_folders(iw.Config("/secret/points.npy", data=data))
    assert (shown.source, shown.data.labels, shown.data.condition) == ("points.npy", "labels.npy", "below/c.npy")
    assert pushing._without_folders(iw.Config("hf:me/data")).source == "hf:me/data"


def test_the_card_says_what_it_is(run, hub):
    """Its code loads it, its figures and pictures are those of the evaluation, and text of the data is no markup."""
    iw.bridges.push(run, "me/points")
    card = hub.repositories["me/points"][-1]["README.md"].decode()
    code = card.partition("```python\n")[2].partition("```")[0]
    namespace = {}
    exec(code, namespace)  # noqa: S102
    assert np.array_equal(namespace["x"], Run(run).model().sample(16, seed=0))
    assert "| bound, held out, total | 1.25 |" in card
    assert "![evaluation/columns.png](evaluation/columns.png)" in card
    assert "<b>" not in card
    assert "points.npy: 40 examples" in card


def test_commands_take_a_name_in_place_of_a_folder(run, hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_cli(["push", run, "me/points"]) == 0
    out = capsys.readouterr().out
    assert (name := out.split()[1]).startswith("hf:me/points@")
    assert f"next      inkwash sample {name} -n 64" in out
    assert run_cli(["sample", name, "-n", 3, "--seed", 4, "--out", "drawn"]) == 0
    assert np.array_equal(np.load("drawn/samples.npy"), Run(run).model().sample(3, seed=4))
    before = sorted(tmp_path.rglob("*"))
    assert run_cli(["evaluate", name]) == 4
    assert run_cli(["studio", name]) == 4
    assert run_cli(["sample", name, "--steps", 2, "--grid", "learned", "--out", "other"]) == 4
    assert "got a run on the Hub, need a folder of your own" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("end", ["", "@REVISION"])
def test_inspect_says_what_a_run_on_the_hub_is(end, run, hub, capsys):
    name = iw.bridges.push(run, "me/points")
    assert run_cli(["inspect", f"hf:me/points{end}".replace("hf:me/points@REVISION", name)]) == 0
    shown = capsys.readouterr().out
    assert "step       3 of 3" in shown
    assert "next       inkwash sample hf:me/points" in shown


@pytest.mark.parametrize("words", ["hf:me/points --train.steps 9", "hf:me/text", "hf:me/none", "hf:mnist"])
def test_inspect_takes_other_names_for_data_sets(words, run, hub, monkeypatch):
    iw.bridges.push(run, "me/points")
    hub.repositories["me/text"] = [{"README.md": b"text"}]
    asked = []
    monkeypatch.setattr("inkwash.commands.inspect.inspect_data", lambda config, *_: asked.append(config.source))
    assert run_cli(["inspect", *words.split()]) == 0
    assert asked == [words.split()[0]]


def test_inspect_takes_trouble_with_the_hub_for_trouble(hub, capsys):
    hub.refused = (403, "GatedRepo")
    assert run_cli(["inspect", "hf:me/points"]) == 4
    assert "error: hf:me/points: got a repository with terms" in capsys.readouterr().err


def test_a_bit_that_differs_is_noticed(run, hub):
    iw.bridges.push(run, "me/points")
    files = hub.repositories["me/points"][-1]
    name = next(each for each in files if each.endswith("average.safetensors"))
    hub.repositories["me/points"].append({**files, name: files[name][:-1] + bytes([files[name][-1] ^ 1])})
    with pytest.raises(iw.CheckpointError, match=r"a damaged average\.safetensors"):
        iw.load("hf:me/points")


def test_what_was_fetched_is_there_without_a_connection(run, hub):
    name = iw.bridges.push(run, "me/points")
    own = iw.load(name).sample(2, seed=0)
    remote._fetched.cache_clear()
    hub.refused = (500, "Broken")
    assert np.array_equal(iw.load(name).sample(2, seed=0), own)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("hf:me/nothing", "hf:me/nothing: got no such repository, need one that is there"),
        ("hf:me/points@v2", "hf:me/points@v2: got no such revision, need a branch, a tag or a commit"),
        ("hf:points", "hf:points: got no name of a repository, need hf:OWNER/NAME"),
        ("hf:me/points@", "hf:me/points@: got no name of a repository, need hf:OWNER/NAME"),
        ("hf:../me", "hf:../me: got no name of a repository"),
        ("hf:me/text", "hf:me/text: got a repository without checkpoints, need a run"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(name, line, hub, tmp_path, capsys):
    hub.repositories |= {"me/points": [{}], "me/text": [{"README.md": b"text", "model.py": b"raise SystemExit"}]}
    assert run_cli(["sample", name, "--out", tmp_path / "out"]) == 4
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {line}")
    assert shown.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ((403, "GatedRepo"), "got a repository with terms, need a token of someone who accepted them"),
        ((500, "Broken"), "got no answer from the Hub, need a connection"),
    ],
)
def test_a_hub_that_refuses_is_one_line(answer, line, hub):
    hub.refused = answer
    with pytest.raises(iw.CheckpointError, match=f"hf:me/points: {line}"):
        iw.load("hf:me/points")


def test_pushing_needs_a_token_a_name_and_the_package(run, hub, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_of_someone_else")
    assert run_cli(["push", run, "me/points"]) == 4
    assert "error: hf:me/points: got a failure (" in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    assert run_cli(["push", run, "me/points"]) == 2
    assert (
        capsys.readouterr().err == "error: token: got none, need hf auth login, or a token that may write in HF_TOKEN\n"
    )
    assert run_cli(["push", run, "hf:me/points@main"]) == 2
    assert "need OWNER/NAME: every upload" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert run_cli(["push", run, "me/points"]) == 2
    assert "got no package huggingface_hub, need pip install 'inkwash[hub]'" in capsys.readouterr().err
    assert hub.repositories == {}
