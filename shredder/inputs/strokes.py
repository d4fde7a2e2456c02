"""What handwriting looks like, whatever it says: quantities of pictures, (n, h, w), bright on dark, in [0, 1]."""

import torch
from torch import Tensor


def ink(pictures: Tensor) -> Tensor:
    """Sum of all pixels, (n,)."""
    return pictures.flatten(1).sum(1)


def slant(pictures: Tensor) -> Tensor:
    """By how many columns ink moves to the right for each row upwards, (n,): - Cov(row, column) / Var(row); 0 without ink."""
    rows, columns = (torch.arange(n, dtype=pictures.dtype, device=pictures.device) for n in pictures.shape[1:])
    total = ink(pictures).clamp(min=1e-9)
    by_row, by_column = pictures.sum(2), pictures.sum(1)
    row, column = by_row @ rows / total, by_column @ columns / total
    variance = by_row @ rows.square() / total - row.square()
    products = torch.einsum("nij,i,j->n", pictures, rows, columns) / total
    return -(products - row * column) / variance.clamp(min=1e-9)


def stroke_width(pictures: Tensor) -> Tensor:
    """In pixels, (n,): 2 * ink / length of the outline, which is the sum of the gradient's size; 0 without ink.

    A stroke of length l and width b << l has the ink l * b, and an outline of 2 * l.
    """
    down = pictures.diff(dim=1, append=pictures[:, -1:])
    right = pictures.diff(dim=2, append=pictures[:, :, -1:])
    outline = torch.hypot(down, right).flatten(1).sum(1)
    return 2 * ink(pictures) / outline.clamp(min=1e-9)
