"""Files come back as they were: what each kind keeps, and which files are refused."""

import contextlib
import zipfile

import numpy as np
import pandas as pd
import pytest
from bugs import bug
from compressed import equal, levels_spec, model_of, real_spec
from PIL import Image
from stand_in import stand_in

import inkwash as iw
from inkwash.codec import archive, files
from inkwash.codec.archive import Content, Reader, pack
from inkwash.codec.container import bundled, opened
from inkwash.core.config import CodecConfig
from inkwash.data.dataset import load_dataset
from inkwash.data.transform import fit_transform


@pytest.fixture(autouse=True)
def without_a_network(monkeypatch):
    monkeypatch.setattr(archive, "scheme_of", stand_in)


def model_for(source, **options):
    data = load_dataset(source, iw.DataConfig(**options))
    transform = fit_transform(data.spec, data.data)
    return iw.Diffusion(model_of(real_spec("ND", (2,), "float32")).denoiser, data.spec.shape, transform, steps=10)


def back(path, model, config=None):
    """What comes back of a file that was compressed, even if it is shorter as it is."""
    content = files.content_of(path, model.units, config or iw.DataConfig())
    content = Content(content.form, content.held, bytes(1 << 20), {"never": []}, content.file, content.beside)
    file = opened(pack(model, content, CodecConfig(chunk=7)), "file")
    reader = Reader.of(model, file)
    return files.written(model.units, reader.header.file, reader.examples()[1], reader.beside(), "file")


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npy_file_comes_back_byte_for_byte(tmp_path, order):
    x = np.asarray(np.random.default_rng(0).integers(0, 9, (20, 3)).astype(">i2"), order=order)
    np.save(tmp_path / "x.npy", x)
    model = model_of(levels_spec("ND", (3,), "int16", 9))
    assert back(tmp_path / "x.npy", model) == {"": (tmp_path / "x.npy").read_bytes()}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_all_arrays_of_an_npz_file_come_back(tmp_path, save):
    random = np.random.default_rng(0)
    arrays = {"y": random.normal(size=20), "x": random.integers(0, 9, (20, 3)), "names": np.array(["a", "bc"])}
    save(tmp_path / "x.npz", **arrays)
    model = model_of(levels_spec("ND", (3,), "int64", 9))
    (tmp_path / "back.npz").write_bytes(back(tmp_path / "x.npz", model, iw.DataConfig(key="x"))[""])
    with np.load(tmp_path / "back.npz") as found:
        assert [*found] == [*arrays]
        assert all(found[name].dtype == array.dtype and (found[name] == array).all() for name, array in arrays.items())
    kinds = [
        {each.compress_type for each in zipfile.ZipFile(tmp_path / name).infolist()} for name in ("x.npz", "back.npz")
    ]
    assert kinds[0] == kinds[1]


TABLE = """name,price,town,rooms,sold,day,cantons
Anna,1.50,Bern,3,yes,2024-01-03,26
"B, C",22.75,Zürich,12,no,2024-01-04,26
Dora, 3.00,Bern,NA,no,2024-02-29,26
Emil,-0.25,Genève,+4,yes,2023-12-31,26
Fritz,1e1,Zürich,5,no,2024-01-03,26
Gret,0.00,Bern,,yes,2024-01-09,26
"""


@bug("spelling forgotten", files, "_differences", lambda texts, cells: {})
@bug("a mark where none was", files, "_encoding", lambda dialect, content: "utf-8-sig", change="as it is")
@pytest.mark.parametrize("change", ["as it is", "semicolons", "lines of Windows", "mark", "packed"])
def test_a_table_of_text_comes_back_byte_for_byte(tmp_path, change):
    """With columns that the model leaves out, a constant, gaps of two spellings, and other numbers of decimals."""
    text, path = TABLE, tmp_path / "x.csv"
    if change == "semicolons":
        text = text.replace('"B, C"', "B").replace(",", ";")
    if change == "lines of Windows":
        text = text.replace("\n", "\r\n")
    content = text.encode("utf-8-sig" if change == "mark" else "utf-8")
    if change == "packed":
        content, path = files.gzip.compress(content, mtime=0), tmp_path / "x.csv.gz"
    path.write_bytes(content)
    options = {"drop": ("name",), "numbers": ("price", "rooms"), "categories": ("town", "sold")}
    model = model_for(path, **options)
    assert back(path, model) == {"": content}


def test_a_parquet_file_comes_back_with_its_types(tmp_path):
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "id": [f"row {i}" for i in range(40)],
            "price": random.normal(size=40).round(2).astype(np.float32),
            "rooms": pd.array(random.integers(0, 400, 40), "Int16"),
            "town": pd.Categorical(random.choice(["a", "b"], 40)),
        }
    )
    table.loc[3, "rooms"] = pd.NA
    table.to_parquet(tmp_path / "x.parquet")
    model = model_for(tmp_path / "x.parquet", drop=("id",))
    (tmp_path / "back.parquet").write_bytes(back(tmp_path / "x.parquet", model)[""])
    assert equal(pd.read_parquet(tmp_path / "back.parquet"), table)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "I;16"])
def test_a_folder_of_pictures_comes_back_with_names_and_pixels(tmp_path, mode):
    random, folder = np.random.default_rng(0), tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    names, shape = ["b.png", "a.PNG", "more/a.png"], (4, 5) if mode in ("1", "L", "I;16") else (4, 5, len(mode))
    for name in names:
        pixels = random.integers(0, 256, shape).astype(np.uint8)
        if mode == "I;16":
            pixels = random.integers(0, 65536, shape).astype(np.uint16)
        Image.fromarray(pixels > 99 if mode == "1" else pixels).save(folder / name)
    found = back(folder, model_for(folder))
    assert sorted(found) == sorted(names)
    for name, content in found.items():
        (tmp_path / "back.png").write_bytes(content)
        with Image.open(tmp_path / "back.png") as new, Image.open(folder / name) as old:
            assert new.mode == old.mode
            assert (np.asarray(new) == np.asarray(old)).all()


@bug("names are not looked at", files, "_within", lambda found, where: found)
@bug("any text is a name", files, "is_name", lambda name: True, names=["a\0.png"])
@pytest.mark.parametrize(
    "names",
    [["../x.png"], ["/tmp/x.png"], ["a/../../x.png"], [""], ["."], ["a\0.png"], ["\ud800"], ["a", "a/b"], ["a", "./a"]],
    ids=repr,
)
def test_a_folder_has_names_of_its_own_only(names):
    """A file that only another program could have written."""
    found = None
    with contextlib.suppress(iw.CodecError):
        found = files.as_it_is({"kind": "folder"}, memoryview(bundled(dict.fromkeys(names, b""))), "file")
    assert found is None


def test_other_files_are_refused(tmp_path):
    model = model_of(levels_spec("NHW", (4, 5), "uint8", 256))
    Image.new("L", (5, 4)).save(tmp_path / "a.png")
    Image.new("L", (5, 4)).save(tmp_path / "b.jpg")
    (tmp_path / "x.tar").write_bytes(b"")
    for path, words in ((tmp_path, "no PNG"), (tmp_path / "x.tar", "a .tar file"), (tmp_path / "y", "no such file")):
        with pytest.raises(iw.DataError, match=words):
            files.content_of(path, model.units, iw.DataConfig())
