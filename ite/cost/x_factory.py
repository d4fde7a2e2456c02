"""Estimators by name: `co_factory("BHShannon_KnnK", k=4)`."""

from typing import Any

import ite.cost
from ite.cost.shared import Estimator


def co_class(cost_name: str) -> type[Estimator]:
    """The estimator class of that name. Raises ValueError for a name that is not there."""
    found = getattr(ite.cost, cost_name, None) if cost_name in ite.cost.__all__ else None
    if not (isinstance(found, type) and issubclass(found, Estimator)):
        names = [name for name in ite.cost.__all__ if isinstance(getattr(ite.cost, name), type)]
        raise ValueError(f"cost_name: found {cost_name!r}, expected one of {', '.join(names)}")
    return found


def co_factory(cost_name: str, **pars: Any) -> Estimator:
    """The estimator of that name, made with `pars`. Raises ValueError for a name that is not there."""
    return co_class(cost_name)(**pars)
