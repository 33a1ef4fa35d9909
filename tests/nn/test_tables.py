"""The network for tables: its input features, their order, and what it adds to the output."""

import math

import pytest
import torch
from bugs import bug
from oracles import F64, tensor

import inkwash as iw
from inkwash.nn import tables

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
    few = 0.05  # of three rows, at most a twentieth is added to three categories
    torch.testing.assert_close(first, tensor([2 + few, few, 1 + few]).float() / 3.15)
    torch.testing.assert_close(second, tensor([2.075, 1.075]).float() / 3.15)
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
    for column, frequency in enumerate((tensor([3, 1, 1]) + 0.25 / 3, tensor([1, 4]) + 0.125)):
        size, frequency = len(frequency), frequency / frequency.sum()
        likelihood = (1 - kept) / size + kept * (torch.arange(size) == x_t[0, column])
        expected = frequency * likelihood / (frequency * likelihood).sum()
        torch.testing.assert_close(belief[column, :size], expected.to(F64), rtol=1e-5, atol=1e-7)


MANY = 3000


def long_tail():
    """Numbers of categories, of which number k occurs about 2000 / (k + 1) times in another order."""
    shuffled = torch.randperm(MANY, generator=torch.Generator().manual_seed(0))
    return torch.cat([shuffled[k].repeat(2000 // (k + 1)) for k in range(MANY)]).double()


def without_sorting(self, count):
    return None


@bug("which categories are rare is not counted", tables.Embedded, "sort", without_sorting)
@torch.no_grad()
def test_many_categories_start_at_their_frequencies_and_rare_ones_keep_theirs_within_the_pool():
    """Whatever the network says, categories that occur fewer than five times keep their frequencies among each other;
    frequent ones do not."""
    inputs, outputs = iw.nn.TableNet.widths((MANY, 0), masked=True)
    assert max(*inputs, *outputs) <= 64
    network = iw.nn.TableNet(iw.MLP(sum(inputs), 16, 1, outputs=sum(outputs)), (MANY, 0), masked=True)
    rows = torch.stack([long_tail(), torch.zeros(len(long_tail()))], 1)
    network.count(rows.split(1000))
    count = torch.bincount(rows[:, 0].long(), minlength=MANY).double()
    state = torch.tensor([[float(MANY), 0.3], [7.0, -1.0]])  # the first is masked
    start = network(state, torch.zeros(2))[:, 1:]
    added = 0.05 * len(rows) / MANY
    torch.testing.assert_close(start[0].exp().double(), (count + added) / (1.05 * len(rows)), rtol=1e-4, atol=0)
    torch.nn.init.normal_(network.network.leave[2].weight)
    later = network(state, torch.zeros(2))[:, 1:]
    change, rare = later - start, count < 5
    assert float((change[:, rare] - change[:, rare][:, :1]).abs().max()) < 1e-4
    assert float((change[:, ~rare] - change[:, ~rare][:, :1]).abs().max()) > 0.1
    assert float((later[0] - later[1]).abs().max()) > 0.1  # it sees the state
    again = iw.nn.TableNet(iw.MLP(sum(inputs), 16, 1, outputs=sum(outputs)), (MANY, 0), masked=True)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again(state, torch.zeros(2))[:, 1:], later)


@pytest.mark.parametrize("log_snr", [-4.0, 1.0, 8.0])
def test_what_a_network_sees_of_a_date_is_the_expectation_of_its_phase(log_snr):
    """Sine and cosine of the phase of a standard normal x, given its noisy value, by sampling x from Bayes' rule."""
    periods = (0.5, 3.0)
    _, outputs = iw.nn.TableNet.widths((0, 0), periods=((), periods))
    network = iw.nn.TableNet(Echo(sum(outputs)), (0, 0), periods=((), periods))
    alpha, sigma = torch.tensor(log_snr).double().sigmoid().sqrt(), torch.tensor(-log_snr).double().sigmoid().sqrt()
    network(tensor([[0.2, 0.7]]).float(), torch.tensor([log_snr]))
    shown = network.network.shown[0].double()
    assert shown[:2].tolist() == pytest.approx([0.2, 0.7])
    x = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    belief = torch.softmax(-0.5 * x**2 - 0.5 * ((0.7 - alpha * x) / sigma) ** 2, 0)
    expected = [float((belief * wave(2 * math.pi * x / p)).sum()) for wave in (torch.sin, torch.cos) for p in periods]
    torch.testing.assert_close(shown[2:], tensor(expected), rtol=1e-4, atol=1e-5)
