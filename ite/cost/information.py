"""I: mutual information of the blocks of y (n, sum(ds)), whose columns stand side by side, `ds` giving their widths."""

from collections.abc import Sequence

import numpy as np

import ite.cost
from ite.cost.shared import Estimator, as_blocks


class MIShannon_DKL(Estimator):
    """Shannon mutual information as the divergence of the joint distribution from the product of its marginals.

        I = D_KL( joint || product )

    The first half of the rows is the joint sample. In the second half the rows of every block are permuted independently,
    which makes it a sample of the product. The estimate is a mean logarithm times d, and depends on the relative scale of the
    blocks, which mutual information does not; beyond about log n it is a yardstick, not a measurement.

    Parameters
    ----------
    mult : bool
        Whether multiplicative constants matter.
    kl_co_name : str
        Estimator of the divergence.
    kl_co_pars : dict, optional
        Its parameters; left unchanged.
    rng : None, int or np.random.Generator
        Permutes. An int gives the same value at each call.
    """

    def __init__(
        self,
        mult: bool = True,
        kl_co_name: str = "BDKL_KnnK",
        kl_co_pars: dict | None = None,
        rng: int | np.random.Generator | None = None,
    ):
        self.mult, self.rng = mult, rng
        self.kl_co = ite.cost.co_factory(kl_co_name, **{**(kl_co_pars or {}), "mult": mult})

    def estimation(self, y: np.ndarray, ds: Sequence[int]) -> float:
        """Mutual information in nats of the blocks of `y` (n, sum(ds)); an odd last row is left out. Raises ValueError."""
        rng = np.random.default_rng(self.rng)
        blocks = as_blocks(y, ds)
        half = len(blocks[0]) // 2
        k = getattr(self.kl_co, "k", 1)
        if half <= k:
            raise ValueError(f"y: found {len(blocks[0])} rows, expected at least {2 * (k + 1)}, k + 1 in each half")
        joint = np.hstack([block[:half] for block in blocks])
        product = np.hstack([rng.permutation(block[half : 2 * half]) for block in blocks])
        return self.kl_co.estimation(joint, product)


class MIShannon_HS(Estimator):
    """Shannon mutual information as a sum of entropies, over all rows.

        I = sum_m H(y_m) - H(y)

    Parameters
    ----------
    mult : bool
        Whether multiplicative constants matter.
    shannon_co_name : str
        Estimator of the entropies.
    shannon_co_pars : dict, optional
        Its parameters; left unchanged.

    References
    ----------
    T. Cover and J. Thomas, "Elements of Information Theory", Wiley, 1991.
    """

    def __init__(self, mult: bool = True, shannon_co_name: str = "BHShannon_KnnK", shannon_co_pars: dict | None = None):
        self.mult = mult
        self.shannon_co = ite.cost.co_factory(shannon_co_name, **{**(shannon_co_pars or {}), "mult": mult})

    def estimation(self, y: np.ndarray, ds: Sequence[int]) -> float:
        """Mutual information in nats of the blocks of `y` (n, sum(ds)). Raises ValueError."""
        blocks = as_blocks(y, ds)
        return sum(map(self.shannon_co.estimation, blocks)) - self.shannon_co.estimation(np.hstack(blocks))
