"""One protocol: every kind of stored noise answers every question of `Stored`, and its answers fit together."""

import inspect
import math

import numpy as np
import pytest
import torch

from shredder.io.cli import InputError
from shredder.io.files import write_together
from shredder.noise.draws import Draws
from shredder.noise.dropout import ChannelDropout
from shredder.noise.fresh import Fresh
from shredder.noise.gaussian import Gaussian
from shredder.noise.load import KINDS, load_folder
from shredder.noise.protocol import Stored
from shredder.noise.rounding import to_grid
from shredder.noise.stored import Collection, Distributions
from shredder.noise.tensors import noisy

SHAPE = (2, 2, 2)
D, N, R = 8, 5, 3
# Draws of which moments are taken; bounds lie six standard errors away.
MANY, SIGMAS = 100_000, 6


def laplace_tensors(seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).laplace(1, 3, (N, *SHAPE))).float()


def fresh(form: str) -> Fresh:
    """Random readings and orthonormal directions, a scale for each, limits above the smallest."""
    rng = np.random.default_rng(3)
    q = torch.linalg.qr(torch.from_numpy(rng.standard_normal((D, R)))).Q.float().contiguous()
    readings, mu = (torch.from_numpy(rng.standard_normal(shape)).float() for shape in ((D, R), SHAPE))
    limits = torch.full((R,), math.inf) if form == "linear" else torch.full((R,), 1.5)
    return Fresh(form, readings, q, mu, torch.tensor([0.5, -1.0, 0.0]), limits, torch.tensor([0.5, 1.0, 7.0]))


def gaussian() -> Gaussian:
    """Of each element its own scale; nothing is sent of the last."""
    rng = np.random.default_rng(9)
    scales = torch.from_numpy(rng.uniform(0.5, 7, SHAPE)).float()
    scales[-1, -1, -1] = math.inf
    return Gaussian(torch.from_numpy(rng.standard_normal(SHAPE)).float(), scales)


STORED = {
    "pairs": Collection(laplace_tensors(0), laplace_tensors(1)),
    "tensors": Collection(None, laplace_tensors(2)),
    "distributions": Distributions.fitted(laplace_tensors(2)),
    **{form: fresh(form) for form in ("linear", "saturated", "quantised")},
    "gaussian": gaussian(),
    "dropout": ChannelDropout(torch.tensor([0.25, 0.75]), SHAPE),
}
RULES = [(name, rule) for name, stored in STORED.items() for rule in stored.rules]
# Of these a bound is claimed, and what is sent lies on a grid.
BOUNDED = [*RULES[2:4], *RULES[5:-1]]
# A single noise, without members; and noise that is Normal, and whose mean over queries is a draw.
ALONE = (Fresh, Gaussian, ChannelDropout)
NORMAL = (Fresh, Gaussian)
QUESTIONS = sorted(name for name in (*vars(Stored), *Stored.__annotations__) if not name.startswith("_"))

every_kind = pytest.mark.parametrize("name", STORED)
every_rule = pytest.mark.parametrize(("name", "rule"), RULES)


def activations(n: int, seed: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((n, *SHAPE))).float()


def drawn(name: str, rule: str, n: int) -> tuple[Stored, torch.Tensor, Draws, torch.Tensor]:
    """The noise, signals, a draw for each, and what is sent."""
    stored = STORED[name]
    signal, draws = stored.signal(activations(n)), stored.draw(n, rule, np.random.default_rng(5))
    return stored, signal, draws, stored.sent(signal, draws)


def test_here_is_every_kind_and_every_rule():
    assert {type(stored) for stored in STORED.values()} == set(KINDS)
    assert [rule for _, rule in RULES] == [
        *("order-preserving", "verbatim"),
        *("elementwise-laplace", "order-preserving", "verbatim"),
        "order-preserving",
        *["fresh"] * 3,
        "elementwise-normal",
        "dropout",
    ]


@every_kind
def test_every_question_has_an_answer_and_is_asked_alike(name):
    stored = STORED[name]
    for question in QUESTIONS:
        answer, expected = getattr(stored, question), vars(Stored).get(question)
        if inspect.isfunction(expected):
            assert str(inspect.signature(answer).replace(return_annotation="")) == str(
                inspect.signature(expected.__get__(stored)).replace(return_annotation="")
            )
    assert stored.shape == SHAPE and len(stored) == (1 if isinstance(stored, ALONE) else N)
    assert stored.rank == (R if isinstance(stored, Fresh) else None)
    assert stored.for_any_inputs is (name == "quantised")


@every_kind
def test_files_are_found_again_with_the_same_bits(name, tmp_path):
    stored = STORED[name]
    files = stored.files(tmp_path)
    names = [path.name for path in files]
    assert stored.NAMES[0] in names and set(names) <= set(stored.NAMES) and {path.parent for path in files} == {tmp_path}
    write_together(files)
    again = load_folder(tmp_path, dict.fromkeys(names, ""), SHAPE)
    assert type(again) is type(stored) and again.rules == stored.rules and again.files(tmp_path) == files


@every_kind
def test_other_rules_are_refused_by_name(name):
    for rule in {rule for _, rule in RULES} | {"nonsense"}:
        if rule not in STORED[name].rules:
            with pytest.raises(InputError, match=f"^--draw {rule}: "):
                STORED[name].draw(1, rule, np.random.default_rng(0))


@every_rule
def test_shapes(name, rule):
    stored, signal, draws, sent = drawn(name, rule, 40)
    size = R if isinstance(stored, Fresh) else D
    assert len(signal) == 40 and signal[0].numel() == size and signal.dtype == torch.float32
    assert len(draws.additive) == 40 and draws.additive[0].numel() == size
    assert draws.additive.dtype == (torch.float32 if draws.grid is None else torch.float64)
    assert sent.shape == (40, *SHAPE) and sent.dtype == torch.float32
    received, outside = stored.received(sent), stored.outside(sent)
    assert received.shape == (40, size) and received.dtype == torch.float32
    assert outside.shape == (40, D if isinstance(stored, Fresh) else 0) and outside.dtype == torch.float64
    w, n = stored.tensors(draws)
    assert n.shape == (40, *SHAPE) and n.dtype == torch.float32 and (w is None) == (draws.multiplicative is None)
    assert stored.as_activation(signal).shape == (40, *SHAPE) and stored.as_activation(signal).dtype == torch.float32
    c, members = stored.moments(rule), 1 if rule == "elementwise-laplace" or isinstance(stored, ALONE) else N
    assert {tuple(of.shape) for of in (c.w_mean, c.w_variance, c.n_mean, c.n_variance)} == {(members, size)}
    assert {of.dtype for of in (c.w_mean, c.w_variance, c.n_mean, c.n_variance)} == {torch.float64}


@every_rule
def test_what_is_sent_is_the_draw_on_top(name, rule):
    """w * t + n, on its grid where a bound is claimed; and to judge a draw, in the activation's shape, the same."""
    stored, signal, draws, sent = drawn(name, rule, 400)
    exact = noisy(signal.double(), draws.multiplicative, draws.additive).flatten(1)
    assert (draws.grid is not None) == ((name, rule) in BOUNDED)
    if draws.grid is None:
        torch.testing.assert_close(stored.received(sent).double(), exact, rtol=1e-6, atol=1e-6)
    else:
        grid = draws.grid.expand(draws.additive.shape).flatten(1)
        on_grid = to_grid(stored.received(sent), grid)
        # What is received is a multiple but for float32's rounding of Q y, far below a step.
        torch.testing.assert_close(stored.received(sent).double(), on_grid, rtol=1e-5, atol=1e-5)
        some = grid > 0  # elsewhere there is no noise, and what is sent is a constant
        assert torch.equal((on_grid / grid).round()[some], (on_grid / grid)[some])
        assert ((on_grid - exact).abs() <= 1.0001 * grid / 2 + 1e-6 * ~some).all()
    w, n = stored.tensors(draws)
    judged = noisy(stored.as_activation(signal), w, n)
    step = 0.0 if draws.grid is None else D * draws.grid.max().item()
    assert (judged - sent).abs().max() <= step + 1e-4
    # Beside what is received there is nothing but rounding.
    assert stored.outside(sent).numel() == 0 or stored.outside(sent).abs().max() < 1e-5


@every_rule
def test_same_seed_same_draw_and_a_draw_is_a_row_of_its_own(name, rule):
    stored, signal, draws, sent = drawn(name, rule, 60)
    assert torch.equal(drawn(name, rule, 60)[3], sent)
    some = Draws(*[tensor if tensor is None or len(tensor) == 1 else tensor[7:9] for tensor in draws])
    assert torch.equal(stored.sent(signal[7:9], some), sent[7:9])
    other = stored.draw(60, rule, np.random.default_rng(6))
    assert not torch.equal(stored.sent(signal, other), sent)


@every_rule
def test_moments_are_those_of_draws(name, rule):
    stored = STORED[name]
    draws, c = stored.draw(MANY, rule, np.random.default_rng(7)), stored.moments(rule)
    w = torch.ones(MANY, 1) if draws.multiplicative is None else draws.multiplicative
    for of_draws, means, variances in ((w, c.w_mean, c.w_variance), (draws.additive, c.n_mean, c.n_variance)):
        found, mean = of_draws.double().flatten(1), means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        assert ((found.mean(0) - mean).abs() <= SIGMAS * (variance / MANY).sqrt() + 1e-6).all()
        fourth = (found - found.mean(0)).pow(4).mean(0)
        error = ((fourth - variance.square()).clamp(min=0) / MANY).sqrt()
        # Order statistics come by quadrature, of a ten thousandth.
        assert ((found.var(0) - variance).abs() <= SIGMAS * error + 1e-3 * variance + 1e-6).all()


@every_rule
def test_laplace_noise_has_these_moments(name, rule):
    stored, c = STORED[name], STORED[name].moments(rule)
    noise = stored.laplace(rule)
    assert (noise is None) == ((name, rule) not in BOUNDED or isinstance(stored, NORMAL))
    if noise is None:
        return
    assert len(noise) == (1 if rule == "elementwise-laplace" else N)
    for member, of in enumerate(noise):
        torch.testing.assert_close(of.mean(), c.n_mean[member])
        torch.testing.assert_close(of.variance(), c.n_variance[member])
        torch.testing.assert_close(of.covariance().diagonal(), c.n_variance[member], rtol=1e-4, atol=0)
        torch.testing.assert_close(c.n_covariance(member), of.covariance())


@every_rule
def test_densities_know_where_the_noise_lies_and_its_unit(name, rule):
    stored = STORED[name]
    density = stored.density(rule)
    assert (density is not None) == (rule == "elementwise-laplace" or isinstance(stored, NORMAL))
    if density is None:
        return
    _, signal, _, sent = drawn(name, rule, MANY // 10)
    noise = (density.sent(stored.received(sent)) - density.own(signal)).double()
    # Under exp(-|e|^k / k) the mean of |e|^k is 1, and its own variance k.
    k = density.power
    size = {"gaussian": D - 1}.get(name, R if isinstance(stored, Fresh) else D)
    assert noise.shape == (MANY // 10, size) and k == (2 if isinstance(stored, NORMAL) else 1)
    error = SIGMAS * math.sqrt(k / len(noise))
    assert ((noise.abs().pow(k).mean(0) - 1).abs() < error).all()
    assert (noise.mean(0).abs() < SIGMAS * math.sqrt(2 / k / len(noise))).all()


@every_rule
def test_bounds_in_bits(name, rule):
    """Where one is claimed, more queries never say less, no signal hardly says anything, and the finite grid adds little."""
    stored, signal = STORED[name], STORED[name].signal(activations(300))
    one, ten = (stored.bits(signal, rule, np.random.default_rng(0), queries) for queries in (1, 10))
    for_any = [stored.bits_for_any_inputs(queries) for queries in (1, 10)]
    assert (one is None) == (ten is None) == ((name, rule) not in BOUNDED)
    assert (for_any[0] is None) == (not isinstance(stored, Fresh))
    if one is None:
        return
    assert 0 < one < ten and 0 < stored.bits_of_grid(rule) < 1e-5
    without = stored.bits(torch.zeros_like(signal), rule, np.random.default_rng(0))
    if stored.for_any_inputs:
        assert one == without == for_any[0] and ten == for_any[1] <= R
    else:
        assert -1e-9 < without < one
    if name == "linear":
        assert for_any == [math.inf, math.inf]
    if name == "saturated":
        assert one < for_any[0] < for_any[1]


@every_rule
def test_how_much_is_hidden_at_most(name, rule):
    expected = math.log2(N) if rule == "verbatim" else None
    assert STORED[name].hidden_at_most(rule) == expected


@every_rule
def test_the_mean_of_draws_is_a_draw_of_averaged_noise(name, rule):
    stored = STORED[name]
    averaged = stored.averaged(16)
    assert (averaged is not None) == isinstance(stored, NORMAL)
    if averaged is None:
        return
    torch.testing.assert_close(averaged.moments(rule).n_variance, stored.moments(rule).n_variance / 16)
    one, rng = stored.signal(activations(1)), np.random.default_rng(8)
    signal = one.repeat_interleave(16 * 4000, 0)
    sent = stored.sent(signal, stored.draw(len(signal), rule, rng))
    means, c = stored.received(sent).double().unflatten(0, (4000, 16)).mean(1), averaged.moments(rule)
    expected, variance = one.double().flatten() + c.n_mean[0], c.n_variance[0]
    assert ((means.mean(0) - expected).abs() < SIGMAS * (variance / 4000).sqrt() + 1e-6).all()
    loud = variance > 0
    assert ((means.var(0)[loud] / variance[loud] - 1).abs() < SIGMAS * (2 / 4000) ** 0.5).all()
    # And it says as much: what 16 queries tell is what one tells under the quieter noise.
    signal = stored.signal(activations(2000))
    assert averaged.bits(signal, rule, rng) == pytest.approx(stored.bits(signal, rule, rng, 16), rel=1e-5)
