"""Information-theoretical estimators with the names and calls of the ITE toolbox (Z. Szabo, JMLR 15:283-287, 2014).

An independent implementation, written from the papers that each class cites. Every value is in nats.
"""

from ite import cost

__all__ = ["cost"]
