"""The network for tables: its input features, their order, and what it adds to the output."""

import math

import torch
from oracles import F64, tensor

import inkwash as iw

NAN = math.nan
SIZES = (3, 0, 2, 0)


class Echo(torch.nn.Module):
    """A network that keeps its input and returns 0, 1, 2, …"""

    def __init__(self, outputs):
        super().__init__()
        self.outputs, self.shown = outputs, None

    def forward(self, features, level):
        self.shown = features
        return torch.arange(float(self.outputs)).expand(len(features), -1)


def net(missing=False, masked=True):
    _, outputs = iw.nn.TableNet.widths(SIZES, masked, missing)
    return iw.nn.TableNet(Echo(sum(outputs)), SIZES, masked, missing)


ROW = tensor([[2.0, -0.5, 1.0, 7.0]]).float()


def test_the_input_has_one_hot_states_and_numbers_in_the_order_of_the_columns():
    network = net()
    network(ROW, torch.zeros(1))
    assert network.network.shown.tolist() == [[0, 0, 1, 0, -0.5, 0, 1, 0, 7.0]]
    assert iw.nn.TableNet.widths(SIZES, masked=True)[0] == (4, 1, 3, 1)
    assert iw.nn.TableNet.widths(SIZES)[0] == (3, 1, 2, 1)


def test_missing_cells_are_shown_as_zeros_with_a_flag():
    network = net(missing=True)
    network(ROW, torch.zeros(1), present=torch.tensor([[False, True, True, False]]))
    assert network.network.shown.tolist() == [[0, 0, 0, 0, 0, -0.5, 1, 0, 1, 0, 1, 0, 0]]
    network(ROW, torch.zeros(1))
    assert network.network.shown[0, [4, 6, 10, 12]].tolist() == [1, 1, 1, 1]


def test_the_output_has_predictions_then_spreads_then_weights():
    assert iw.nn.TableNet.widths(SIZES)[1] == (0, 1, 0, 1, 3, 0, 2, 0)
    assert iw.nn.TableNet.widths(SIZES, spreads=True)[1] == (0, 1, 0, 1, 0, 1, 0, 1, 3, 0, 2, 0)
    assert net()(ROW, torch.zeros(1))[0].tolist() == list(range(7))


def test_log_frequencies_count_only_cells_that_are_present():
    network = net()
    rows = tensor([[0, 1.0, 1, 0], [0, NAN, NAN, 0], [2, 0, 0, 0], [NAN, 0, 0, 0]])
    network.count([rows[:1], rows[1:]])
    first, second = network.log_prior.exp().split([3, 2])
    torch.testing.assert_close(first, tensor([2.5, 0.5, 1.5]).float() / 4.5)
    torch.testing.assert_close(second, tensor([2.5, 1.5]).float() / 4)
    places = network(ROW, torch.zeros(1))[0, 2:]
    torch.testing.assert_close(places, torch.arange(2.0, 7.0) + network.log_prior)


def test_a_network_at_its_start_is_the_exact_denoiser_of_independent_columns():
    """The perceptron starts at zero, so the belief is Bayes' rule with the frequencies."""
    process = iw.Categorical(iw.CosineSchedule(), (3, 2))
    inputs, outputs = iw.nn.TableNet.widths((3, 2))
    network = iw.nn.TableNet(iw.MLP(sum(inputs), 16, 1, outputs=sum(outputs)), (3, 2)).double()
    network.count([tensor([[0, 0], [0, 1], [1, 1], [2, 1], [0, 1]])])
    denoiser, t = iw.denoise.OddsDenoiser(network.double(), process), 0.4
    x_t = tensor([[2.0, 0.0]])
    belief = denoiser(x_t, t).logits.softmax(-1)[0]
    kept = float(process.schedule.alpha(t) ** 2)
    for column, frequency in enumerate((tensor([3.5, 1.5, 1.5]) / 6.5, tensor([1.5, 4.5]) / 6)):
        size = len(frequency)
        likelihood = (1 - kept) / size + kept * (torch.arange(size) == x_t[0, column])
        expected = frequency * likelihood / (frequency * likelihood).sum()
        torch.testing.assert_close(belief[column, :size], expected.to(F64), rtol=1e-5, atol=1e-7)
