"""The device of a name."""

import pytest
import torch
from accelerate import Accelerator

import inkwash as iw
from inkwash.device import device_of


def test_by_itself_a_model_lives_where_it_would_be_trained():
    assert device_of("auto") == Accelerator().device


def test_a_device_may_be_named_or_given():
    assert device_of("cpu") == device_of(torch.device("cpu")) == torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_there_is_refused(name, tmp_path):
    with pytest.raises(iw.ConfigError, match=f"device: got {name}, need cpu"):
        iw.load(tmp_path, name)
