"""Division whose result is finite, NaN, or a stated neutral value."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def ratio(numerator: Values, denominator: Values, neutral: float = math.nan) -> Values:
    """Divide; `neutral` where the denominator is 0, NaN where the quotient overflows."""
    with np.errstate(all="ignore"):
        quotient: Values = np.true_divide(numerator, denominator)
    finite = np.where(np.isfinite(quotient), quotient, np.nan)
    return finite if math.isnan(neutral) else np.where(np.equal(denominator, 0.0), neutral, finite)
