"""What is not there, a package, a file or a folder, is named in one line, before anything is written."""

import sys

import pytest
from bugs import bug
from faults import run_cli, tree

from inkwash.core.errors import MissingPackageError


@bug("bad data, as it once was", MissingPackageError, "exit_code", 3, package="constriction")
@pytest.mark.parametrize(
    ("package", "extra", "words"),
    [
        ("constriction", "compress", "compress {home}/images {home}/images.npy"),
        ("h5py", "hdf5", "train some.h5"),
        ("onnxscript", "onnx", "export {home}/points --to onnx"),
        ("uvicorn", "studio", "studio"),
    ],
)
def test_a_missing_package_ends_every_command_alike(package, extra, words, home, alone, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    (alone / "some.h5").write_bytes(b"")
    before = tree(alone)
    assert run_cli(words.format(home=home).split()) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert f"no package {package}, need pip install 'inkwash[{extra}]'" in err
    assert tree(alone) == before


@pytest.mark.parametrize("words", ["inspect nowhere", "train nowhere", "compress {home}/images nowhere"])
def test_data_that_is_not_there_is_said_to_be_not_there(words, home, alone, capsys):
    assert run_cli(words.format(home=home).split()) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "nowhere" in err
    assert "no file or folder" in err or "no such file" in err
