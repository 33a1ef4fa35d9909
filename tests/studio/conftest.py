"""The extra that serves the page, and a run of small pictures."""

import numpy as np
import pytest
from faults import tiny, without_pictures

pytest.importorskip("starlette", reason="the studio needs starlette")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of runs: one of pictures of 4 levels, one of two numbers, and one of a small table."""
    from inkwash.training.fit import fit

    folder = tmp_path_factory.mktemp("shelf")
    rng = np.random.default_rng(0)
    np.save(folder / "pictures.npy", rng.integers(0, 4, (20, 4, 6)).astype(np.uint8))
    rows = ["age,sex", *(f"{20 + i / 2},{('01', 'f')[i % 2]}" for i in range(30))]
    (folder / "rows.csv").write_text("\n".join(rows) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        for name in ("pictures.npy", "rows.csv"):
            fit(tiny(folder / name, steps=2), folder / "runs" / name.partition(".")[0])
    return folder / "runs"
