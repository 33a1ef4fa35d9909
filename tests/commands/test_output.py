"""A folder that commands write to: what is read back is what was written, and each line says where it is."""

import numpy as np
import pytest
from PIL import Image

import inkwash as iw
from inkwash.commands.output import Output
from inkwash.data.dataset import load_dataset


def test_arrays_and_tables_are_read_back_as_they_were(tmp_path, capsys):
    output = Output(tmp_path / "new" / "folder")
    shop = load_dataset("shop")
    output.array("x.npy", np.arange(6).reshape(2, 3))
    output.table("x.csv", shop.spec, shop.data[:50])
    assert np.array_equal(np.load(output.folder / "x.npy"), np.arange(6).reshape(2, 3))
    again = load_dataset(str(output.folder / "x.csv"))
    assert list(again.spec.columns) == list(shop.spec.columns)
    assert len(again.data) == 50
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"array     {output.folder / 'x.npy'} (int64 (2, 3), data units)"
    assert lines[1] == f"table     {output.folder / 'x.csv'} (50 rows, {len(shop.spec.columns)} columns)"


def test_each_image_is_a_file_of_its_own(tmp_path, capsys):
    output = Output(tmp_path / "new" / "folder")
    digits = load_dataset("digits")
    output.images(digits.spec, digits.data[:3])
    assert {path.name for path in output.folder.iterdir()} == {"000000.png", "000001.png", "000002.png"}
    with Image.open(output.folder / "000002.png") as picture:
        level = digits.data[2].squeeze().astype(float)
        assert np.array_equal(np.asarray(picture), np.rint(level * 255 / 16))
    assert "000000.png … 000002.png; [0, 16] shown as black to white" in capsys.readouterr().out


def test_a_silent_one_writes_the_same_and_says_nothing(tmp_path, capsys):
    output = Output(tmp_path / "new" / "folder")
    output.silent().picture("x.png", np.zeros((2, 3), np.uint8))
    assert capsys.readouterr().out == ""
    output.picture("y.png", np.zeros((2, 3), np.uint8), ": black")
    assert capsys.readouterr().out == f"picture   {output.folder / 'y.png'}: black\n"
    assert (output.folder / "x.png").read_bytes() == (output.folder / "y.png").read_bytes()


def test_leftovers_are_refused_and_what_will_be_replaced_is_not(tmp_path):
    output = Output(tmp_path / "new" / "folder")
    output.refuse_leftovers("*.png", [])
    output.write("a.png", b"")
    output.refuse_leftovers("*.png", ["a.png", "b.png"])
    with pytest.raises(iw.ConfigError, match=r"^out: got .*folder, which holds more files"):
        output.refuse_leftovers("*.png", ["b.png"])


def test_nothing_is_made_before_something_is_written(tmp_path):
    output = Output(tmp_path / "new" / "folder")
    output.say("nothing")
    assert not output.folder.exists()
