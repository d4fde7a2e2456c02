"""Numbers of the paper and of its authors' released code, to stand beside ours.

v2, v3: arXiv 1905.11814, second and third version (the third is that of ASPLOS 2020). What they print as bits is nats.
"""

# v3 Table 3 and v2 Table 1, row LeNet: mutual information before and after (nats), accuracy lost (points), learned parameters
# as a share of the network's (%), epochs.
LENET_V3 = {
    "before (nats)": 301.84,
    "after (nats)": 18.9,
    "accuracy lost (points)": 1.34,
    "parameters of a member (% of the network's)": 0.19,
    "epochs": 6.3,
}
LENET_V2 = {"before (nats)": 300.04, "after (nats)": 31.2, "accuracy lost (points)": 1.31}
# The authors' released LeNet tensors, drawn order-preserving: 99.09 % of their network, 93.87 % over 10,000 draws.
LENET_RELEASED = {"before (nats)": 284.14, "after (nats)": 106.92, "accuracy lost (points)": 5.22}
# v3 Fig. 7, LeNet, read off the plot: accuracy lost (points), information lost (nats).
FIGURE_7 = ((0.50, 193), (0.90, 209), (1.0, 234), (1.27, 257), (1.30, 281), (18.7, 297))
# v2 Fig. 4, LeNet, read off the plot: accuracy lost (points), normalised private misclassification.
FIGURE_V2_4 = ((0.6, 0.52), (1.3, 0.67), (4.3, 0.81), (4.9, 0.84), (5.7, 0.86))
# Mean upload rates in Mbit/s of Wi-Fi and LTE in the United States, as used by Eshratifar, Abrishami and Pedram, "JointDNN",
# IEEE Transactions on Mobile Computing 2021, arXiv 1801.08618.
UPLOAD = {"Wi-Fi": 18.88, "LTE": 5.85}
