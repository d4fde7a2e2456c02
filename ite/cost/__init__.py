"""The estimators. `co = MIShannon_DKL(); co.estimation(y, ds)`, or `co_factory("MIShannon_DKL")`."""

from typing import Any

from ite.cost.divergence import BDKL_KnnK
from ite.cost.entropy import BHShannon_KnnK
from ite.cost.information import MIShannon_DKL, MIShannon_HS

__all__ = ["BDKL_KnnK", "BHShannon_KnnK", "MIShannon_DKL", "MIShannon_HS", "co_factory"]


def co_factory(cost_name: str, **pars: Any) -> Any:
    """The estimator of that name, made with `pars`. Raises ValueError for a name that is not there."""
    if cost_name not in __all__[:-1]:
        raise ValueError(f"cost_name: found {cost_name!r}, expected one of {', '.join(__all__[:-1])}")
    return globals()[cost_name](**pars)
