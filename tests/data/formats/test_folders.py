"""A folder is of the format whose files lie in it; a format without its package says what to type."""

import os
import sys

import numpy as np
import pytest

from inkwash.core.errors import MissingPackageError
from inkwash.data.dataset import load_dataset
from inkwash.data.formats.folders import holds
from inkwash.data.readers import FILES

NAMES = {
    "sound": ("a.wav", "soundfile", "audio"),
    "nifti": ("a.nii.gz", "nibabel", "medical"),
    "fits": ("A.FITS", "astropy", "astro"),
    "dicom": ("a.dcm", "pydicom", "medical"),
    "ome-tiff": ("a.ome.tiff", "tifffile", "tiff"),
}


def format_of(path):
    return next(each.name for each in FILES if each.recognises(path))


@pytest.mark.parametrize("name", NAMES)
def test_a_format_without_its_package_says_what_to_type(tmp_path, monkeypatch, name):
    file, module, extra = NAMES[name]
    for folder in ("below", ".thumbnails"):
        (tmp_path / folder).mkdir()
    (tmp_path / ".thumbnails" / "a.png").write_bytes(b"")
    (tmp_path / "below" / file).write_bytes(b"")
    assert format_of(tmp_path) == name
    monkeypatch.setitem(sys.modules, module, None)
    for path in (tmp_path, tmp_path / "below" / file):
        with pytest.raises(MissingPackageError, match=rf"no package {module}, need pip install 'inkwash\[{extra}\]'"):
            load_dataset(path)


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_with_pictures_is_one_of_pictures(tmp_path, name):
    for file in (NAMES[name][0], "b.png", ".hidden"):
        (tmp_path / file).write_bytes(b"")
    assert format_of(tmp_path) == "pictures"


def test_pipes_and_other_names_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "README").write_bytes(np.zeros(10))
    assert format_of(tmp_path) == "pictures"
    assert not holds(".wav")(tmp_path)
