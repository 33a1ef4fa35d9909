"""How probable data is: the variational bound, and the exact log-probability along the flow."""

from inkwash.likelihood.bound import Bound, MeanBound
from inkwash.likelihood.flow import Dequantise, LogProb, dequantised_log_prob, flow_log_prob, transport
from inkwash.likelihood.immse import immse_log_prob
from inkwash.likelihood.ode import Adaptive, Fixed, Solver

__all__ = [
    "Adaptive",
    "Bound",
    "Dequantise",
    "Fixed",
    "LogProb",
    "MeanBound",
    "Solver",
    "dequantised_log_prob",
    "flow_log_prob",
    "immse_log_prob",
    "transport",
]
