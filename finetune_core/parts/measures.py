"""What torchmetrics measures otherwise: the share of the variance that is explained. Nothing here knows Thaw."""

from __future__ import annotations

from torch import Tensor
from torchmetrics.regression import R2Score

ROUNDING = 1e-6  # a variance of this share of the squares that it is told from is none


class ExplainedShare(R2Score):
    """R² of each number, NaN where there is no variance to explain.

    torchmetrics takes a sum of squares below 1e-4 for none, whatever the unit, and raises where there is one image.
    """

    def compute(self) -> Tensor:
        """1 less the squared misses, as a share of the squared distances from the mean; the mean over all numbers."""
        distances = self.sum_squared_error - self.sum_error * self.sum_error / self.total
        share = 1 - self.residual / distances
        return share.where(distances > ROUNDING * self.sum_squared_error, share.new_tensor(float("nan"))).mean()
