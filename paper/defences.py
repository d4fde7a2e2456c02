"""What a user would pick instead: the paper's noise and defences of others, at equal accuracy, same cut, same attacks."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from paper import answers, nopeek
from paper.attacked import AT_LEAST, table_at
from paper.grounds import ATTACKS, GROUNDS, SECRETS_OF, Ground
from paper.points import task_point
from shredder.attack.step import Arguments as Attack
from shredder.io import ranks
from shredder.io.cli import InputError

QUICK, QUICK_ATTACKS = ("isotropic", "randomised-response"), ("trained", "member")
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
    whole : bool
        Whether it is learned and attacked on the whole dataset, where that is asked for; else on the smaller one.
    answer : callable or None
        Of a defence whose device computes everything: from rows and target to the row's numbers. It has no flags.
    retrained : callable or None
        Of a defence that changes weights: from `nopeek.Retraining` and folders to the file.
    """

    what: str
    source: str
    bound: str
    learn: Mapping[str, Any] = MappingProxyType({})
    whole: bool = False
    answer: Callable[[dict[str, answers.Answers], float], dict[str, Any]] | None = None
    retrained: Callable[..., dict[str, Any]] | None = None


_COVARIANCE = "inputs with the covariance that held-out and test activations suggest, at 99 % confidence"
_ANY = "nothing else: it holds for any inputs"
_AS_IT_IS = "none: what is kept is sent as it is"
DEFENCES = {
    "none": Defence("The activation as it is.", "split inference without a defence", _AS_IT_IS, {"method": "none"}),
    "v1": Defence(
        "Laplace noise on every element, of the mean and spread that learned tensors have there.",
        "Shredder v1, --method additive", _COVARIANCE, {"method": "additive"},
    ),
    "v2": Defence(
        "A learned pair of tensors, its multiplicative one redrawn in order.",
        "Shredder v2, --method self-supervised", "none: few pairs, of which one is known to be right",
        {"method": "self-supervised"}, whole=True,
    ),
    "v3": Defence(
        "Laplace noise in a learned order of elements.", "Shredder v3, --method distribution", _COVARIANCE,
        {"method": "distribution"}, whole=True,
    ),
    "fresh": Defence(
        "Normal noise anew along learned directions, as few bits as the accuracy allows.",
        "this suite, --method fresh", "LeNet: nothing else, it holds for any inputs; CIFAR-10: as of isotropic",
        {"method": "fresh"}, whole=True,
    ),
    "flipped": Defence(
        "One bit that the edge's activation says, flipped by chance.", "this suite, --method fresh --form flipped", _ANY,
        {"method": "fresh", "form": "flipped"}, whole=True,
    ),
    "isotropic": Defence(
        "Normal noise of one scale on every element. dFIL's noise is the same.",
        "Guo et al. 2022; Maeng et al. 2023", _COVARIANCE, {"method": "isotropic"}, whole=True,
    ),
    "isotropic-laplace": Defence(
        "Laplace noise of one scale on every element.",
        "Shredder v1's kind of channel, not learned", _COVARIANCE, {"method": "isotropic-laplace"},
    ),
    "pac": Defence(
        "Normal noise along principal directions, of a variance in proportion to the square root of the activations'.",
        "Xiao, Devadas, CRYPTO 2023", _COVARIANCE, {"method": "pac"}, whole=True,
    ),
    "cloak": Defence(
        "Normal noise of learned mean and scale on every element; elements not worth sending are constants.",
        "Mireshghallah et al., WWW 2021", _COVARIANCE, {"method": "cloak"},
    ),
    "dropout": Defence(
        "A random subset of channels for each query, as they are.",
        "dropout at inference; Srivastava et al. 2014", _AS_IT_IS, {"method": "dropout"},
    ),
    "nopeek": Defence(
        "The activation as it is, of an edge that was retrained for little distance correlation with the input.",
        "Vepakomma et al. 2020", _AS_IT_IS, {"method": "none"}, retrained=nopeek.retrained,
    ),
    "randomised-response": Defence(
        "The answer, flipped by chance. The device computes the whole network.",
        "Warner 1965", _ANY, whole=True, answer=answers.randomised_response,
    ),
    "noisy-score": Defence(
        "The clipped score under Laplace noise. The device computes the whole network.",
        "the Laplace mechanism; Dwork et al. 2006", _ANY, answer=answers.noisy_score,
    ),
}  # fmt: skip


def figure_defences(args: Any) -> Rows:
    """Each of `args.defences` at each cutting point of `args.cuts`, over `args.seeds` seeds.

    Of answers there is nothing to draw. All of a seed comes before the next one, so that an interrupted table is whole for some
    seeds. Rows of the tables in `args.join` stand as they are, and are not made again.
    """
    joined = {_identity(row): row for folder in args.join for row in rows_of(folder)}
    asked = []
    for seed in range(args.seed, args.seed + (1 if args.quick else args.seeds)):
        for network in args.grounds:
            asked += of_ground(dataclasses.replace(args, seed=seed), network, SECRETS_OF if seed == 0 else ())
    missing = [(row, make) for row, make in asked if _identity(row) not in joined]
    columns = ranks.each(lambda number: missing[number][1](), range(len(missing)))
    made = [row | of_row for (row, _), of_row in zip(missing, columns, strict=True)]
    return sorted([*joined.values(), *made], key=_place)


def rows_of(folder: Path) -> Rows:
    """Rows of a finished table, from the file of each defence in its folder. Raises InputError where one is no such file."""
    rows = []
    if not (paths := sorted(folder.glob("defence-*.json"))):
        raise InputError(f"--join: found no defence-NAME.json in {folder}, expected those of a finished table")
    for path in paths:
        try:
            found = json.loads(path.read_text())["rows"]
            rows += sorted(found, key=_place)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: found no rows of a table of defences, expected what --figure defences writes") from error
    return rows


def _identity(row: Mapping[str, Any]) -> tuple:
    """What a row is of."""
    return tuple(row[name] for name in ("seed", "network", "cutting point", "defence", "dataset"))


def _place(row: Mapping[str, Any]) -> tuple[int, ...]:
    """Where a row stands: by seed, network, cutting point and defence."""
    seed, network, cut, defence, _ = _identity(row)
    return seed, list(GROUNDS).index(network), list(GROUNDS[network].targets).index(cut), list(DEFENCES).index(defence)


def of_ground(
    args: Any, network: str, secrets_of: tuple[str, ...]
) -> list[tuple[dict[str, Any], Callable[[], dict[str, Any]]]]:
    """What rows of a network are of, for one seed, and what makes their columns.

    Secrets beside the private label are read of the defences that are named.
    """
    ground, rows, answered_by = GROUNDS[network], [], {}
    cuts = ("relu5",) if args.quick else [cut for cut in ground.targets if {cut, "all"} & set(args.cuts)]
    for cut in cuts:
        for name, defence in DEFENCES.items():
            if (
                name in ground.left_out.get(cut, ())
                or not {name, "all"} & set(args.defences)
                or (args.quick and name not in QUICK)
            ):
                continue
            whole = defence.whole and args.dataset == "mnist" and not args.quick
            dataset = ground.datasets[whole]
            row = {"defence": name, "network": network, "cutting point": cut, "dataset": dataset, "seed": args.seed}
            if defence.answer:
                if dataset not in answered_by:
                    answered_by[dataset] = answers.network_answers(ground.task, ground.public_labels, dataset, args.data_root)
                rows.append((row, partial(answered, defence, answered_by[dataset], ground.targets[cut])))
            else:
                attacks = QUICK_ATTACKS if args.quick else (*ATTACKS, *(["secrets"] if name in secrets_of else []))
                rows.append((row, partial(point_of, args, ground, name, cut, dataset, attacks)))
    return rows


def answered(defence: Defence, rows: dict[str, answers.Answers], target: float) -> dict[str, Any]:
    """Columns of a defence that sends no activation."""
    try:
        return defence.answer(rows, target)
    except ValueError as error:
        return {"unreached": str(error)}


def point_of(args: Any, ground: Ground, name: str, cut: str, dataset: str, attacks: tuple[str, ...]) -> dict[str, Any]:
    """Columns of a defence at a cutting point: steps 1 and 2, attacks, and Fisher information."""
    defence, target, more = DEFENCES[name], ground.targets[cut], {}
    flags = {"dataset": dataset, "public_labels": ground.public_labels, "cutting_point": cut, "min_accuracy": target}
    flags |= defence.learn | ground.flags.get((name, cut), {})
    if cut != next(iter(ground.targets)):
        flags |= ground.epochs.get((name, dataset), {})
    if defence.retrained:
        how = nopeek.Retraining(ground.task, dataset, ground.public_labels, cut, target, args.seed)
        more = defence.retrained(how, args.data_root, args.points)
        if "unreached" in more:
            return {"unreached": more["unreached"]}
        flags["weights"] = more.pop("weights")
    how_long = {"epochs": 5} if args.quick else ground.attacks[dataset, cut]
    attack = Attack(
        dataset=dataset, data_root=args.data_root, weights=flags.get("weights"), seed=args.seed, device=args.device,
        ceilings=args.points / "ceilings", attacks=attacks, **how_long,
    )  # fmt: skip
    # Step 2 is for the estimate alone, which no row rests on.
    point = task_point(args, ground.task, attack, n_splits=0, learn=flags, n_samples=200, judged_on=200)
    if "unreached" in point:
        return {"unreached": point["unreached"]}
    row = more | seen(point)
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
    row["private accuracy at most"] = 100 * attacked["private accuracy at most, one query"]
    row |= {f"worst of one query, {end}": 100 * attacked[f"the worst's 95 % interval, {end}"] for end in ("low", "high")}
    for name in (name for name in attacked if name.endswith("by exact arithmetic")):
        row["identified (%)"] = 100 * attacked[name]
    if (folder / "reconstruction.csv").exists():
        row |= {f"SSIM, {line['images']}": float(line["SSIM"]) for line in table_at(folder / "reconstruction.csv")}
        row |= {"SSIM, best": attacked["its SSIM"], "best reconstruction": attacked["best reconstruction"]}
    if (folder / "secrets.csv").exists():
        for line in table_at(folder / "secrets.csv"):
            for name in ("floor", "one query", "one query, at most", "1000 queries", "clean"):
                row[f"{line['secret']}, {name}"] = 100 * float(line[name])
    return row
