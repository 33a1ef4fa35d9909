r"""Noise schedules give the scales of the signal and of the noise in $x_t = \alpha(t)\,x + \sigma(t)\,\epsilon$.

A time is a float in $[0, 1]$; 0 is data, 1 is noise. Everything here is float64, whatever the dtype of the data. Scales
have a relative error of 1e-12, and log-SNRs an absolute error of 1e-12, apart from the effect of the rounding of t.
No result is NaN: the log-SNR is $+\infty$ where there is no noise, and $-\infty$ where no signal is left.
"""
