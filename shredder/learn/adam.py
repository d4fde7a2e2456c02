"""Adam for members of different age."""

from torch import Tensor


def adam_step(parameter: Tensor, gradient: Tensor, m: Tensor, v: Tensor, updates: Tensor, rate: Tensor) -> None:
    """One step of Adam (Kingma and Ba 2015, Algorithm 1), in place, for members of different age.

    The bias correction counts each member's own updates, which torch.optim.Adam cannot do for rows of one tensor.

    Parameters
    ----------
    parameter, gradient, m, v : Tensor, (R, ...)
        m and v are the running first and second moments of the gradient.
    updates : Tensor, int64, (R,)
        Updates of each member, this one included.
    rate : Tensor, (R,)
        Learning rate of each member.
    """
    beta1, beta2, epsilon = 0.9, 0.999, 1e-8
    column = (-1, *[1] * (parameter.dim() - 1))
    t = updates.double().view(column)  # in float32, 1 - 0.999 is off by a hundred-thousandth
    m.lerp_(gradient, 1 - beta1)
    v.lerp_(gradient.square(), 1 - beta2)
    m_hat, v_hat = m / (1 - beta1**t).to(m.dtype), v / (1 - beta2**t).to(v.dtype)
    parameter -= rate.view(column) * m_hat / (v_hat.sqrt() + epsilon)
