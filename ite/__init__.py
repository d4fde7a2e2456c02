"""Information-theoretical estimators with the names and calls of the ITE toolbox (Z. Szabo, JMLR 15:283-287, 2014).

An independent implementation, written from the papers that each class cites. Information is in nats.
"""

from ite import cost
from ite.checks import IndependenceTest, independence_test, scale_sensitivity, standardize
from ite.cost.information import UnsupportedEstimate
from ite.cost.knn import FewEffectiveSamples, RepeatedValues
from ite.cost.shared import jitter
from ite.distances import Distances

__all__ = [
    "Distances",
    "FewEffectiveSamples",
    "IndependenceTest",
    "RepeatedValues",
    "UnsupportedEstimate",
    "cost",
    "independence_test",
    "jitter",
    "scale_sensitivity",
    "standardize",
]
