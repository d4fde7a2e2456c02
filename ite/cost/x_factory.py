"""Estimators by name: `co_factory("BHShannon_KnnK", k=4)`."""

from typing import Any

import ite.cost
from ite.cost.shared import Estimator


def co_class(cost_name: str) -> type[Estimator]:
    """The estimator class of that name. Raises ValueError for a name that is not there."""
    names = [name for name in ite.cost.__all__ if hasattr(getattr(ite.cost, name), "estimation")]
    if cost_name not in names:
        raise ValueError(f"cost_name: found {cost_name!r}, expected one of {', '.join(names)}")
    return getattr(ite.cost, cost_name)


def co_factory(cost_name: str, **pars: Any) -> Estimator:
    """The estimator of that name, made with `pars`. Raises ValueError for a name that is not there."""
    return co_class(cost_name)(**pars)
