"""Sound comes in with the numbers that its files store, as other readers see them, and goes out alike."""

import io
import warnings
import wave
from dataclasses import replace

import numpy as np
import pytest
from bad import bad
from bugs import bug
from faults import run_cli, tiny, without_pictures
from scipy.io import wavfile

from inkwash.core.config import DataConfig
from inkwash.core.errors import DataError
from inkwash.data import stored
from inkwash.data.dataset import load_dataset
from inkwash.data.formats import sound
from inkwash.data.rows import blocks
from inkwash.training.fit import fit

soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
RANDOM = np.random.default_rng(5)
BYTES = {"PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4}
TYPES = {
    "PCM_U8": "uint8",
    "PCM_16": "int16",
    "PCM_24": "float32",
    "PCM_32": "float64",
    "FLOAT": "float32",
    "DOUBLE": "float64",
}


SILENT = sound._DEPTHS | {"PCM_U8": replace(sound._DEPTHS["PCM_U8"], middle=0)}


def waves(count, places, channels=1):
    return 0.9 * np.sin(RANDOM.normal(size=(count, places, channels)).cumsum(1))


def recordings(folder, kind, recorded, rate=8000, form="wav"):
    for i, values in enumerate(recorded):
        soundfile.write(folder / f"{i:03d}.{form}", values, rate, subtype=kind, format=form)
    return folder


def scipy_read(source):
    """Rate and values; SciPy warns of a chunk beside them that libsndfile writes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wavfile.WavFileWarning)
        return wavfile.read(source)


def read_by_another(source, kind):
    """Rate and stored numbers by the reader of Python for whole numbers, and by that of SciPy for real ones."""
    if kind not in BYTES:
        return scipy_read(source)
    with wave.open(str(source) if not hasattr(source, "read") else source) as file:
        content, channels = file.readframes(file.getnframes()), file.getnchannels()
        assert file.getsampwidth() == BYTES[kind]
        each = [content[i : i + BYTES[kind]] for i in range(0, len(content), BYTES[kind])]
        numbers = [int.from_bytes(part, "little", signed=kind != "PCM_U8") for part in each]
        shape = (-1, channels) if channels > 1 else (-1,)
        return file.getframerate(), np.array(numbers, np.int64).reshape(shape)


@bug("numbers stay in the highest bits", sound.Depth, "decoded", lambda depth, x: x.astype(depth.dtype), kind="PCM_24")
@bug("silence is 0 in 8 bits", sound, "_DEPTHS", SILENT, kind="PCM_U8")
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("kind", TYPES)
def test_numbers_are_those_of_the_file_and_samples_are_alike(tmp_path, kind, channels):
    data = load_dataset(recordings(tmp_path, kind, waves(3, 50, channels).squeeze(), 22050))
    assert (data.spec.layout, data.data.dtype) == ("NL" if channels == 1 else "NLC", TYPES[kind])
    assert data.spec.origin["rate"] == 22050
    written = list(sound.write_sound("samples", data.spec, data.data))
    assert [name for name, _ in written] == [f"samples/{i:06d}.wav" for i in range(3)]
    for i, (_, content) in enumerate(written):
        rate, numbers = read_by_another(tmp_path / f"{i:03d}.wav", kind)
        assert np.array_equal(data.data[i], numbers)
        again, numbers_again = read_by_another(io.BytesIO(content), kind)
        assert (again, rate) == (22050, 22050)
        assert np.array_equal(numbers_again, numbers)


@pytest.mark.parametrize("kind", ["PCM_S8", "PCM_16", "PCM_24"])
def test_flac_holds_the_numbers_of_wav(tmp_path, kind):
    recorded = waves(2, 40).squeeze()
    found = load_dataset(recordings(tmp_path, kind, recorded, form="flac"))
    bits = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}[kind]
    assert np.abs(found.data / 2.0 ** (bits - 1) - recorded).max() <= 2.0 ** (1 - bits)
    (name, content), _ = sound.write_sound("samples", found.spec, found.data)
    assert name == "samples/000000.flac"
    again, _ = soundfile.read(io.BytesIO(content))
    assert soundfile.info(io.BytesIO(content)).subtype == kind
    assert np.array_equal(again * 2.0 ** (bits - 1), found.data[0])


def test_samples_are_rounded_and_stay_within_the_bits(tmp_path):
    data = load_dataset(recordings(tmp_path, "PCM_24", waves(2, 3).squeeze()))
    values = np.array([[1e9, -1e9, 0.6], [-0.4, 8388607.0, 2.0]], np.float32)
    found = [
        read_by_another(io.BytesIO(content), "PCM_24")[1] for _, content in sound.write_sound("s", data.spec, values)
    ]
    assert np.array_equal(found, [[8388607, -8388608, 1], [0, 8388607, 2]])


def test_recordings_of_unequal_length_are_series_of_unequal_length(tmp_path):
    recorded = [each.squeeze() for n in (30, 10, 20) for each in waves(1, n)]
    data = load_dataset(recordings(tmp_path, "PCM_16", recorded))
    assert np.flatnonzero(data.spec.lengths).tolist() == [9, 19, 29]
    for i, (_, content) in enumerate(sound.write_sound("samples", data.spec, data.data)):
        assert np.array_equal(wavfile.read(io.BytesIO(content))[1], wavfile.read(tmp_path / f"{i:03d}.wav")[1])


def first_values(recording, start=0, places=-1):
    return soundfile.read(recording.path, places, dtype="int32")[0] >> 8


@bug("every piece is the first", sound.Recording, "values", first_values)
@pytest.mark.parametrize("in_memory", [True, False])
def test_pieces_are_the_recordings_from_their_beginning_on(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(stored, "IN_MEMORY", 1 << 28 if in_memory else 0)
    recorded = [each for n in (35, 7, 50) for each in waves(1, n, 2)]
    data = load_dataset(recordings(tmp_path, "PCM_24", recorded, form="flac"), DataConfig(window=10))
    every = [soundfile.read(path, dtype="int32")[0] >> 8 for path in sorted(tmp_path.iterdir())]
    expected = np.concatenate([each[: len(each) // 10 * 10].reshape(-1, 10, 2) for each in every])
    assert np.array_equal(np.concatenate(list(blocks(data.data))), expected)
    assert isinstance(data.data, np.ndarray) == in_memory
    assert "cut into 8 pieces of 10 places; 12 places at the ends are left out" in data.notes


def test_folders_are_labels_and_damaged_files_are_left_out(tmp_path):
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        recordings(tmp_path / name, "PCM_16", waves(3, 20).squeeze())
    (tmp_path / "cat" / "000.wav").write_bytes(b"RIFF")
    (tmp_path / "about.txt").write_text("x")
    data = load_dataset(tmp_path, DataConfig(labels="folder", skip_damaged=True))
    assert [data.condition.classes[i - 1] for i in data.labels] == ["cat"] * 2 + ["dog"] * 3
    assert f"1 damaged file(s) left out: {tmp_path / 'cat' / '000.wav'}" in data.notes
    assert "not read: 1 .txt" in data.notes


def test_a_run_samples_sound(tmp_path, monkeypatch):
    without_pictures(monkeypatch)
    (tmp_path / "in").mkdir()
    fit(tiny(recordings(tmp_path / "in", "FLOAT", waves(12, 8).squeeze(), 44100), steps=1), tmp_path / "run")
    assert run_cli(["sample", tmp_path / "run", "-n", 2, "--out", tmp_path / "out"]) == 0
    for i in range(2):
        rate, values = scipy_read(tmp_path / "out" / "samples" / f"{i:06d}.wav")
        assert (rate, values.dtype, values.shape) == (44100, np.float32, (8,))


@bad("cut.wav: got no readable file of sound (144 bytes of 244)", command=True)
def test_a_wav_file_that_ends_early(folder):
    recordings(folder, "PCM_16", waves(2, 100).squeeze())
    (folder / "cut.wav").write_bytes((folder / "000.wav").read_bytes()[:144])
    return str(folder)


@bad("000.flac: got no readable file of sound")
def test_a_flac_file_that_ends_early(folder):
    recordings(folder, "PCM_16", waves(2, 10000).squeeze(), form="flac")
    (folder / "000.flac").write_bytes((folder / "000.flac").read_bytes()[:9000])
    return str(folder)


@bad("b.wav: got 16000 Hz, 1 channel(s), 16 bits, need 8000 Hz, 1 channel(s), 16 bits, like a.wav")
def test_recordings_of_two_rates(folder):
    for name, rate in (("a", 8000), ("b", 16000)):
        wavfile.write(folder / f"{name}.wav", rate, np.arange(9, dtype=np.int16))
    return str(folder)


@bad("got sound of type ULAW, need whole or real numbers")
def test_sound_of_a_lossy_type(folder):
    return str(recordings(folder, "ULAW", waves(2, 30).squeeze()))


@bad("got one recording of 30 places, need a folder of several, or --data.window N")
def test_one_recording(folder):
    return str(recordings(folder, "PCM_16", [waves(1, 30).squeeze()]) / "000.wav")


@bad("data.window: got 31, need at most 30", window=31)
def test_pieces_longer_than_all_recordings(folder):
    return str(recordings(folder, "PCM_16", waves(2, 30).squeeze()))


@bad("000.wav: got no place")
def test_a_recording_without_a_place(folder):
    return str(recordings(folder, "PCM_16", [np.empty(0), np.zeros(5)]))


def test_the_window_is_an_option_of_sound_alone(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 3), np.float32))
    with pytest.raises(DataError, match=r"data\.window: got 2, need sound in \.wav or \.flac files"):
        load_dataset(tmp_path / "x.npy", DataConfig(window=2))
