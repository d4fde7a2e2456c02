"""What a user would pick instead: defences of others at equal public accuracy, same cut, same attacks."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from paper import answers
from paper.attacked import AT_LEAST, table_at
from paper.points import lenet_point
from shredder.attack.step import Arguments as Attack
from shredder.io import kept
from shredder.io.record import key
from shredder.system import System, with_noise

# Held-out public accuracy that every defence exceeds at each cutting point. What fresh noise reached there set them.
TARGETS = {"relu5": 0.985, "s4": 0.982, "s2": 0.963}
# Attacks, and epochs of their networks, which are fewer where activations have many elements.
ATTACKS = {
    "relu5": (("trained", "member", "averaging", "reconstruction"), {"mnist-5k": 20, "mnist": 8}),
    "s4": (("trained", "member", "averaging", "reconstruction"), {"mnist-5k": 12, "mnist": 5}),
    "s2": (("trained", "member", "averaging", "reconstruction"), {"mnist-5k": 12, "mnist": 5}),
}
QUICK = ("isotropic", "randomised-response")
# Inputs, and random directions of the activation, that Fisher information is a mean over.
_INPUTS, _PROBES = 200, 32
# Results of step 1 that are columns.
LEARNED = ("level", "held-out accuracy", "bits at most, held-out")
Rows = list[dict[str, Any]]


class Defence(NamedTuple):
    """A row of the table at each cutting point.

    Attributes
    ----------
    what, source, bound : str
        In a sentence: what is sent; where it is from; what the bound in bits holds for, or why there is none.
    learn : mapping of str to value
        Flags of step 1.
    early : mapping of str to value
        Further ones at earlier cutting points of mnist-5k, whose epochs are short.
    answer : callable or None
        Of a defence whose device computes everything: from rows and target to the row's numbers. It has no flags.
    smooth : bool
        Whether the noise has a density in which the signal is differentiable: the Fisher information is had of it.
    """

    what: str
    source: str
    bound: str
    learn: Mapping[str, Any] = MappingProxyType({})
    early: Mapping[str, Any] = MappingProxyType({})
    answer: Callable[[dict[str, answers.Answers], float], dict[str, Any]] | None = None
    smooth: bool = True


_COVARIANCE = "inputs with the covariance that held-out and test activations suggest, at 99 % confidence"
DEFENCES = {
    "fresh": Defence(
        "Normal noise anew along learned directions, of the saturated form, as few bits as the accuracy allows.",
        "this suite, --method fresh", _COVARIANCE,
        {"method": "fresh", "form": "saturated"}, {"epochs": 250, "min_epochs": 149},
    ),
    "isotropic": Defence(
        "Normal noise of one scale on every element. dFIL's noise is the same.",
        "Guo et al. 2022; Maeng et al. 2023", _COVARIANCE, {"method": "isotropic"},
    ),
    "isotropic-laplace": Defence(
        "Laplace noise of one scale on every element.",
        "Shredder v1's kind of channel, not learned", _COVARIANCE, {"method": "isotropic-laplace"},
    ),
    "pac": Defence(
        "Normal noise along principal directions, of a variance in proportion to the square root of the activations'.",
        "Xiao, Devadas, CRYPTO 2023", _COVARIANCE, {"method": "pac"},
    ),
    "cloak": Defence(
        "Normal noise of learned mean and scale on every element; elements not worth sending are constants.",
        "Mireshghallah et al., WWW 2021", _COVARIANCE, {"method": "cloak"},
    ),
    "dropout": Defence(
        "A random subset of channels for each query, as they are.",
        "dropout at inference; Srivastava et al. 2014", "none: what is kept is sent as it is",
        {"method": "dropout"}, smooth=False,
    ),
    "randomised-response": Defence(
        "The answer, flipped by chance. The device computes the whole network.",
        "Warner 1965", "nothing else: it holds for any inputs", answer=answers.randomised_response,
    ),
    "noisy-score": Defence(
        "The clipped score under Laplace noise. The device computes the whole network.",
        "the Laplace mechanism; Dwork et al. 2006", "nothing else: it holds for any inputs", answer=answers.noisy_score,
    ),
}  # fmt: skip


def figure_defences(args: Any) -> Rows:
    """Each defence at each cutting point of `args.cuts`, over `args.seeds` seeds; of answers there is nothing to draw."""
    if "lenet" not in args.networks:
        return []
    dataset = "mnist-5k" if args.quick else args.dataset
    found = answers.lenet_answers(dataset, args.data_root)
    rows = []
    for cut in ("relu5",) if args.quick else args.cuts:
        for name, defence in DEFENCES.items():
            if args.quick and name not in QUICK:
                continue
            row = {"defence": name, "cutting point": cut, "dataset": dataset}
            if defence.answer:
                rows.append(row | answered(defence, found, TARGETS[cut]))
                continue
            for seed in range(args.seed, args.seed + (1 if args.quick else args.seeds)):
                rows.append(row | {"seed": seed} | point_of(dataclasses.replace(args, seed=seed), defence, cut, dataset))
    return rows


def answered(defence: Defence, rows: dict[str, answers.Answers], target: float) -> dict[str, Any]:
    """Columns of a defence that sends no activation."""
    try:
        return defence.answer(rows, target)
    except ValueError as error:
        return {"unreached": str(error)}


def point_of(args: Any, defence: Defence, cut: str, dataset: str) -> dict[str, Any]:
    """Columns of a defence at a cutting point: steps 1 and 2, attacks, and Fisher information."""
    attacks, epochs = ATTACKS[cut]
    few = {"attacks": attacks[:2], "epochs": 5} if args.quick else {"attacks": attacks, "epochs": epochs[dataset]}
    attack = Attack(
        dataset=dataset, data_root=args.data_root, seed=args.seed, device=args.device, ceilings=args.points / "ceilings", **few
    )
    flags = {"dataset": dataset, "public_labels": "gt5", "cutting_point": cut, "min_accuracy": TARGETS[cut], **defence.learn}
    flags |= defence.early if cut != "relu5" and dataset == "mnist-5k" else {}
    # Step 2 is for the estimate alone, which no row rests on.
    point = lenet_point(args, n_samples=200, judged_on=200, n_splits=0, attack=attack, **flags)
    if "unreached" in point:
        return {"unreached": point["unreached"]}
    row = seen(point)
    if defence.smooth:
        row["dFIL (a pixel)"] = fisher_of(args, point["folder"])
    return row


def seen(point: dict[str, Any]) -> dict[str, Any]:
    """What steps and attacks say, in %, and bits."""
    learned, attacked, folder = point["learned"], point["attacked"], point["folder"] / "attacks"
    row = {name: learned[name] for name in LEARNED if name in learned}
    row["public accuracy (%)"] = 100 * attacked["public accuracy"]
    row["bits at most"] = attacked["bits at most, one query"]
    row |= {name: value for name, value in attacked.items() if name == "bits at most, 1000 queries"}
    for name in (name for name in attacked if name.startswith("measured information")):
        row[name], row[f"{name}, upper end"], row[f"{name}, standard error"] = attacked[name]
    for column in AT_LEAST:
        names = (column, *(f"{column}, {of}" for of in ("standard error", "low", "high")))
        row |= {name: attacked[name] for name in names if name in attacked}
    for line in table_at(folder / "attacks.csv"):
        row |= {name: 100 * float(line[name]) for name in ("floor", "ceiling")}
        row[line["attack"]] = 100 * float(line["private_accuracy"])
    row["worst of one query"] = 100 * attacked["its private accuracy"]
    row |= {f"worst of one query, {end}": 100 * attacked[f"the worst's 95 % interval, {end}"] for end in ("low", "high")}
    if (folder / "reconstruction.csv").exists():
        row |= {f"SSIM, {line['images']}": float(line["SSIM"]) for line in table_at(folder / "reconstruction.csv")}
        row |= {"SSIM, best": attacked["its SSIM"], "best reconstruction": attacked["best reconstruction"]}
    return row


def fisher_of(args: Any, folder: Path) -> float:
    """dFIL of a point's noise over test inputs, kept beside its attacks."""
    task, chosen, channel = with_noise(Attack(noise=folder / "noise", data_root=args.data_root, device=args.device))

    def make() -> dict[str, float]:
        system, own = System(task, chosen), channel.density().own
        (images,) = system.images(test=_INPUTS)
        inputs = images.make(list(range(_INPUTS))).to(chosen.device)
        edge = system.split.edge
        return {"dFIL": fisher_information(lambda x: own(channel.signal(edge(x))), inputs, np.random.default_rng(args.seed))}

    return kept.once(folder / "fisher.kept", key(chosen, sorted((folder / "noise").glob("*.npy"))), make)["dFIL"]


def fisher_information(own: Callable[[Tensor], Tensor], inputs: Tensor, rng: np.random.Generator) -> float:
    """Fisher information of noise of unit scale, Normal or Laplace, about an input, a pixel (dFIL; Guo et al. 2022).

        dFIL = E[tr(J^T J)] / d,   J = d own(x) / d x,   tr(J^T J) = E_v |J^T v|^2,   v_i = +-1 at random

    (Hutchinson 1990). Its reciprocal bounds the mean squared error a pixel of an unbiased guess of the input from below. Noise
    of scale s on t has the information J^T J / s^2, for Laplace noise as well, so that own = t / s.

    Parameters
    ----------
    own : callable
        From inputs to coordinates in which noise has unit scale, (n, F).
    inputs : Tensor, float32, (n, *input shape)
        Of d elements each.

    Returns
    -------
    float
        In units of one over a pixel's square.
    """
    inputs = inputs.clone().requires_grad_()
    found, total = own(inputs), 0.0
    for _ in range(_PROBES):
        v = torch.from_numpy(rng.choice(np.array([-1, 1], np.float32), size=found.shape)).to(found.device)
        (gradient,) = torch.autograd.grad((found * v).sum(), inputs, retain_graph=True)
        total += gradient.double().square().sum().item()
    return total / _PROBES / inputs.numel()
