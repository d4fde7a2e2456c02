"""The estimators: `MIShannon_DKL().estimation(y, ds)`, or by name `co_factory("MIShannon_DKL")`.

In a name, the first letter says whether something is estimated directly (B) or from other estimators (M); the second what: H
entropy, I mutual information and dependence, D divergence, C cross-entropy, A association, K kernels on distributions. What
follows an underscore says from what: BHShannon_KnnK from nearest neighbours, MIShannon_DKL from a Kullback-Leibler divergence.
"""

# ruff: noqa: F401, F403
from ite.cost.association import *
from ite.cost.dependence import *
from ite.cost.dependence_kernel import *
from ite.cost.divergence import *
from ite.cost.divergence_kernel import *
from ite.cost.divergence_meta import *
from ite.cost.entropy import *
from ite.cost.information import *
from ite.cost.information_direct import *
from ite.cost.kernels import *
from ite.cost.knn import FewEffectiveSamples, RepeatedValues
from ite.cost.x_analytical_values import *
from ite.cost.x_factory import co_class, co_factory
from ite.cost.x_kernel import Kernel

# The families export their estimators by their own __all__; what else is here was named above.
__all__ = [name for name, value in globals().items() if getattr(value, "__module__", "").startswith("ite.cost.")]
