"""What goes in comes out, bit for bit, or there is a `CodecError`; with a scheme that needs no network."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from bugs import bug
from compressed import LAYOUTS, coded, equal, levels_spec, model_of, real_spec
from hypothesis import HealthCheck, given, settings, strategies as st
from stand_in import stand_in

import inkwash as iw
from inkwash.codec import archive, chunks, container, marks
from inkwash.codec.scheme import batch_of
from inkwash.data.dataset import load_dataset
from inkwash.data.transform import fit_transform

SMALL = 64


@pytest.fixture(autouse=True)
def without_a_network(monkeypatch):
    monkeypatch.setattr(archive, "scheme_of", stand_in)


def frame(count, seed=0, gaps=True):
    random = np.random.default_rng(seed)
    found = pd.DataFrame(
        {
            "price": random.normal(100, 30, count).round(2),
            "town": random.choice(["Bern", "Genève", "Zürich"], count),
            "rooms": random.integers(-3, 900, count),
            "sold": random.random(count) < 0.3,
        }
    )
    if gaps:
        found.loc[random.random(count) < 0.2, "price"] = np.nan
    return found


def table_model(table):
    data = load_dataset(table)
    transform = fit_transform(data.spec, data.data)
    return iw.Diffusion(model_of(real_spec("ND", (2,), "float32")).denoiser, data.spec.shape, transform, steps=10)


def without_gaps(self, content, count, where):
    odd, rest = CHUNKS_MORE(self, content, count, where)
    return odd * 0, rest


CHUNKS_MORE = chunks.Chunks._more


# Round trips


def answer(model, file, **options):
    """What decompressing gives: examples, or nothing if there is the error that is allowed."""
    try:
        return iw.decompress(model, bytes(file), **options)
    except iw.CodecError:
        return None


@st.composite
def cases(draw):
    """A model and examples that it knows."""
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    sides = tuple(draw(st.integers(1, 4)) for _ in range(LAYOUTS[layout]))
    count, random = draw(st.integers(1, 12)), np.random.default_rng(draw(st.integers(0, 2**32)))
    order = draw(st.sampled_from("<>"))
    if draw(st.booleans()):
        levels, low = draw(st.integers(2, 300)), draw(st.integers(0, 3))
        kinds = (
            [">i2", "<u4", "<i8", "<f4", "<f8"] + ["|u1"] * (levels + low <= 256) + ["|b1"] * (levels == 2 and not low)
        )
        x = random.integers(low, low + levels, (count, *sides)).astype(draw(st.sampled_from(kinds)))
        model = model_of(levels_spec(layout, sides, "int64", levels, low))
    else:
        dtype, unit = draw(st.sampled_from(["f4", "f8"])), draw(st.sampled_from([1, 10, 100, 8, 1024]))
        x = (random.integers(-500, 500, (count, *sides)) / unit).astype(order + dtype)
        model = model_of(real_spec(layout, sides, "float64"))
    as_tensor = draw(st.booleans()) and x.dtype.isnative and x.dtype.kind != "u"
    return model, torch.from_numpy(x) if as_tensor else x, draw(st.integers(1, 5))


def comes_back(case):
    model, x, chunk = case
    files = coded(model, x, chunk=chunk), iw.compress(model, x, chunk=chunk)
    rows = [len(x) - 1, 0, len(x) // 2]
    for file in files:
        assert equal(answer(model, file), x)
        assert equal(answer(model, file, only=rows), x[rows])
    assert len(files[1]) <= x.nbytes + SMALL


@bug("rows of one chunk too few", archive.Header, "size", lambda header, chunk: header.config.chunk - 1)
@bug("the lowest level forgotten", marks, "_start", lambda units: 0.0)
@settings(max_examples=15)
@given(cases())
def test_examples_come_back(case):
    comes_back(case)


@pytest.mark.slow
@settings(max_examples=10_000, suppress_health_check=list(HealthCheck))
@given(cases())
def test_ten_thousand_examples_come_back(case):
    comes_back(case)


@bug("missing entries forgotten", chunks.Chunks, "_more", without_gaps)
def test_a_frame_comes_back():
    """Columns, types, rows and what is missing, of a table whose numbers have two decimals."""
    table = frame(300)
    model = table_model(table)
    for part in (table, table[:1], table[5:9].reset_index(drop=True)):
        for file in (iw.compress(model, part, chunk=64), coded(model, part, chunk=64)):
            assert equal(answer(model, file), part)
    assert equal(iw.decompress(model, file, only=slice(2, None)), part[2:].reset_index(drop=True))


def test_series_of_unequal_length_come_back():
    random = np.random.default_rng(0)
    series = [random.normal(size=n).round(1) for n in random.integers(3, 9, 30)]
    data = load_dataset(series)
    model = iw.Diffusion(model_of(data.spec).denoiser, data.spec.shape, fit_transform(data.spec, data.data), steps=10)
    for file in (iw.compress(model, series), coded(model, series, chunk=7)):
        assert equal(iw.decompress(model, file), series)
        assert equal(iw.decompress(model, file, only=[3, 1]), [series[3], series[1]])


@pytest.mark.parametrize("values", ["normal", "infinite", "beyond 2^31 multiples"])
def test_what_would_not_come_back_is_refused(values):
    x = np.random.default_rng(0).normal(size=(20, 3)) if values == "normal" else np.ones((20, 3))
    x[3, 1] = {"infinite": np.inf, "beyond 2^31 multiples": 1e9 + 0.001}.get(values, x[3, 1])
    with pytest.raises(iw.DataError):
        iw.compress(model_of(real_spec("ND", (3,), "float64")), x)


@pytest.mark.parametrize(
    "x", [[1, 2], "text", np.ma.masked_array([[1.0, 2.0, 3.0]], [[0, 1, 0]]), np.zeros((2, 3), "M8[s]")]
)
def test_other_objects_are_refused(x):
    with pytest.raises(iw.DataError):
        iw.compress(model_of(real_spec("ND", (3,), "float64")), x)


# Faults


def small_files():
    """A coded and a stored file, with their model and their examples."""
    x = np.random.default_rng(0).integers(0, 17, (6, 2, 2)).astype(np.uint8)
    model = model_of(levels_spec("NHW", (2, 2), "uint8", 17))
    yield model, x, iw.compress(model, x)
    yield model, x, coded(model, x, chunk=4)


@bug("parts are not checked", container, "checksum", lambda content, key=b"": bytes(8), which=0)
@pytest.mark.parametrize("which", [0, 1], ids=["stored", "coded"])
@pytest.mark.slow_cases("coded")
def test_no_flipped_bit_goes_unnoticed(which):
    model, _, file = [*small_files()][which]
    for bit in range(8 * len(file)):
        damaged = bytearray(file)
        damaged[bit // 8] ^= 1 << bit % 8
        assert answer(model, damaged) is None


@pytest.mark.parametrize("which", [0, 1], ids=["stored", "coded"])
def test_no_missing_or_added_byte_goes_unnoticed(which):
    model, _, file = [*small_files()][which]
    for end in range(len(file)):
        assert answer(model, file[:end]) is None
        assert answer(model, file[end:]) is None or end == 0
    assert answer(model, file + b"\0") is None


def garbage(seed, file):
    """Random bytes, some of them behind a true beginning, or spliced into a true file."""
    random = np.random.default_rng(seed)
    noise = random.bytes(int(random.integers(0, 200)))
    start = int(random.integers(0, len(file)))
    return [
        noise,
        container.MAGIC + b"\1" + noise,
        file[:start] + noise,
        file[:start] + noise + file[start + len(noise) :],
    ][seed % 4]


def is_refused_or_right(model, x, file, count):
    for seed in range(count):
        found = answer(model, garbage(seed, file))
        assert found is None or equal(found, x)


def test_garbage_is_refused():
    for model, x, file in small_files():
        is_refused_or_right(model, x, file, 300)


@pytest.mark.slow
def test_a_hundred_thousand_pieces_of_garbage_are_refused():
    for model, x, file in small_files():
        is_refused_or_right(model, x, file, 50_000)


def rewritten(file, change):
    """A file with another header that is checked and keyed as it should be: what only a writer could make."""
    found = container.opened(file, "file")
    lengths = found.header.get("lengths") or [len(found.body) - container.CHECKSUM]
    parts = [bytes(read()) for read in found.parts(lengths)]
    header = json.loads(json.dumps(found.header))
    change(header)
    return container.sealed(header, parts)


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(header):
        for key in path:
            header = header[key]
        if value is None:
            del header[last]
        else:
            header[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        put("form", "shape", [10**12, 2, 2]),
        put("form", "shape", [6, 2, 3]),
        put("form", "shape", [5, 2, 2]),
        put("form", "shape", [6]),
        put("form", "dtype", "O"),
        put("form", "dtype", "nonsense"),
        put("form", "kind", "rows"),
        put("form", "kind", "tensor"),
        put("config", "chunk", 3),
        put("config", "chunk", 0),
        put("config", "seed", 1),
        put("config", "mode", "lossy"),
        put("times", [1, 0.5]),
        put("lengths", [1, 1]),
        put("lengths", None),
        put("marks", "per_unit", [2]),
        put("marks", "per_unit", [1, 1]),
        put("ends", "low", [3]),
        put("beside", 10),
        put("machine", "probe", "00"),
        put("model", "sha256", "0" * 64),
        put("more", 1),
    ],
)
def test_a_header_that_does_not_fit_is_refused(change):
    """Even where all checksums are right, there is an error, or the examples are right."""
    model, x, file = [*small_files()][1]
    found = answer(model, rewritten(file, change))
    assert found is None or equal(found, x)


def test_memory_is_asked_for_before_it_is_taken(monkeypatch):
    model, x, file = [*small_files()][1]
    monkeypatch.setattr("inkwash.core.machine.free_memory", lambda device=None: 100)
    with pytest.raises(iw.CodecError, match="memory"):
        iw.decompress(model, file)
    with pytest.raises(iw.ConfigError, match="memory"):
        iw.compress(model, x)


@bug("laws of levels forgotten", archive, "bytes_of_batch", lambda model: 0)
def test_the_memory_of_laws_of_levels_is_asked_for(monkeypatch):
    """A picture of 3 x 512 x 512 with 256 levels has laws of 1.6 GB, of which a batch of one needs several."""
    spec = levels_spec("NCHW", (3, 512, 512), "uint8", 256)
    lattice = iw.process.Lattice(-1.0, 1.0, 256)
    network = iw.Denoiser(lambda x_t, t: x_t, iw.Gaussian(iw.CosineSchedule()), iw.denoise.Levels(lattice))
    model = iw.Diffusion(network, spec.shape, model_of(spec).transform, steps=10)
    monkeypatch.setattr("inkwash.core.machine.free_memory", lambda device=None: 6 << 30)
    message = ""
    try:
        iw.compress(model, np.zeros((1, 3, 512, 512), np.uint8), mode="bits-back")
    except iw.ConfigError as error:
        message = str(error)
    assert "memory" in message
    assert batch_of(model) == 1


@bug("any model will do", archive.Identity, "require", lambda self, model, where: None)
@bug("any machine will do", archive.Machine, "require", lambda self, scheme, where: None)
def test_another_model_or_machine_is_refused_before_anything_is_decoded(monkeypatch):
    x = np.random.default_rng(0).integers(0, 17, (6, 2, 2)).astype(np.uint8)
    model, other = (model_of(levels_spec("NHW", (2, 2), "uint8", 17), dtype=d) for d in (torch.float32, torch.float64))
    file, decoded = coded(model, x), []
    monkeypatch.setattr(chunks.Chunks, "unpack", lambda *content: decoded.append(content) or "")
    assert "another model" in refusal(other, file)
    monkeypatch.setattr(archive, "scheme_of", lambda *words, seed, **more: stand_in(*words, seed=seed + 1, **more))
    assert "rounds otherwise" in refusal(model, file)
    assert decoded == []


def refusal(model, file):
    """The message of the error, or what else happened."""
    try:
        iw.decompress(model, file)
    except iw.CodecError as error:
        return str(error)
    except ValueError:
        return "decoded"


@bug("what was decoded is not checked", archive, "_sum", lambda held: bytes(8))
def test_a_decoder_that_errs_is_noticed(monkeypatch):
    """On a machine whose numbers differ where no probe looks."""
    model, _, file = [*small_files()][1]
    decode = chunks.Chunks._by_scheme
    monkeypatch.setattr(chunks.Chunks, "_by_scheme", lambda *words: decode(*words) ^ 1)
    monkeypatch.setattr(chunks.Chunks, "_unpacked", lambda *words: decode(*words) ^ 1)
    assert answer(model, file) is None


def test_a_stored_file_claims_no_more_than_it_has():
    model, _, file = next(iter(small_files()))
    assert answer(model, rewritten(file, put("array", ["|u1", 10**12, 2, 2]))) is None


def test_a_file_of_another_version_is_refused():
    model, _, file = [*small_files()][1]
    later = file[:4] + b"\2" + file[5:]
    with pytest.raises(iw.CodecError, match="format 2, need format 1"):
        iw.decompress(model, later)


def test_nothing_is_compiled_or_run_to_read_a_file():
    model, _, file = [*small_files()][1]
    seen = []
    sys.addaudithook(
        lambda event, words: seen.append(event) if watching and event in ("compile", "exec", "open") else None
    )
    watching.append(True)
    iw.decompress(model, file)
    watching.clear()
    assert "compile" not in seen
    assert "exec" not in seen


watching = []
