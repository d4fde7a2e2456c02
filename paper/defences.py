"""What a user would pick instead: defences of others at equal public accuracy, same cut, same attacks."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from paper import answers
from paper.attacked import AT_LEAST, table_at
from paper.points import lenet_point
from shredder.attack.step import Arguments as Attack

# Held-out public accuracy that every defence exceeds at each cutting point. What fresh noise reached there set them.
TARGETS = {"relu5": 0.985, "s4": 0.982, "s2": 0.963}
# Attacks, and epochs of their networks, which are fewer where activations have many elements.
ATTACKS = {
    "relu5": (("trained", "member", "averaging", "reconstruction"), {"mnist-5k": 20, "mnist": 8}),
    "s4": (("trained", "member", "averaging", "reconstruction"), {"mnist-5k": 12, "mnist": 5}),
    "s2": (("trained", "member", "averaging", "reconstruction"), {"mnist-5k": 12, "mnist": 5}),
}
QUICK = ("isotropic", "randomised-response")
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
    """

    what: str
    source: str
    bound: str
    learn: Mapping[str, Any] = MappingProxyType({})
    early: Mapping[str, Any] = MappingProxyType({})
    answer: Callable[[dict[str, answers.Answers], float], dict[str, Any]] | None = None


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
        {"method": "dropout"},
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
    if (information := point["attacked"]["Fisher information (dFIL)"]) != "none":
        row["dFIL (a pixel)"] = information
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
