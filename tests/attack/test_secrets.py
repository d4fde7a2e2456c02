"""Secrets beside the private label: one that is sent, one that is not, and whether an input was a training input."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from shredder.attack import attacks
from shredder.attack.keeper import Keeper
from shredder.attack.networks import Budget
from shredder.attack.run import ATTACKS, attacked
from shredder.attack.secrets import asked, read_secrets
from shredder.attack.setting import Setting, Side
from shredder.noise.channel import Channel
from tests.noise.test_channel import linear_fresh


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    monkeypatch.setattr(attacks, "READERS", (((64,), 8e-3), ((64, 64), 4e-3)))


def with_secrets(s: float, n: int = 2000) -> Setting:
    """Element 0 is -1 or 1, which is the secret `sent`; `lost` is a number that is not sent; noise of spread s on element 0.

    Test inputs have one more, `half`, by their place. Element 1 is 10 for those of the second half, and for a quarter of the
    other inputs.
    """
    rng, channel = np.random.default_rng(0), Channel(linear_fresh([s, 1e-3]), "fresh")

    def side(n: int, test: bool) -> Side:
        sign, lost, half = torch.from_numpy(2.0 * rng.integers(2, size=n) - 1), rng.normal(size=n), torch.arange(n) >= n // 2
        clean = torch.zeros(n, 4, 1, 1)
        clean[:, 0, 0, 0] = sign
        clean[half if test else torch.from_numpy(rng.random(n) < 0.25), 1] = 10
        zeros = torch.zeros(n, dtype=torch.int64)
        secrets = {"sent": (sign > 0).long(), "lost": torch.from_numpy(lost), **({"half": half.long()} if test else {})}
        return Side(clean, channel.signal(clean), zeros, zeros, torch.zeros(n, 9), secrets)

    nothing = Keeper(None, "")
    sides = side(n, False), side(300, False), side(n, True)
    return Setting(channel, None, *sides, None, Budget(12), 0, nothing, nothing)


def test_each_secret_is_read_as_theory_says():
    s = 8.0
    rows = {row["secret"]: row for row in read_secrets(with_secrets(s))}
    assert list(rows) == ["sent", "lost", "half", "membership"]
    # A sign under noise of spread s is read in Phi(1 / s), and after 1,000 queries in Phi(sqrt(1000) / s).
    assert rows["sent"]["one query"] == pytest.approx(stats.norm.cdf(1 / s), abs=0.035)
    assert rows["sent"]["1000 queries"] == pytest.approx(stats.norm.cdf(math.sqrt(1000) / s), abs=0.01)
    assert rows["sent"]["clean"] == 1
    # What is sent of a sign has I bits, and limits a guess to 1 - h^-1(1 - I) of two that are equally frequent.
    assert rows["sent"]["one query"] - 0.02 < rows["sent"]["one query, at most"] < 0.62
    assert rows["lost"]["one query, at most"] < 0.56
    for often in ("one query", "1000 queries", "clean"):
        assert rows["lost"][often] == pytest.approx(0.5, abs=0.04)
        assert rows["half"][often] > 0.99
        # Element 1 is 10 in a half of the test inputs and in a quarter of the training inputs: (1/2 + 3/4) / 2.
        assert rows["membership"][often] == pytest.approx(0.625, abs=0.04)
    for row in rows.values():
        assert (
            row["floor"] == pytest.approx(0.5, abs=0.06) and row["one query, low"] < row["one query"] <= row["one query, high"]
        )
        # No reader is above what theory allows, but for chance.
        assert row["one query"] < row["one query, at most"] + 0.04 and row["one query, at most"] <= 1
        assert row["bits low"] < row["bits at least"] < row["bits high"]
    assert [row["of"] for row in rows.values()] == [2000, 2000, 1000, 2000]


def test_rows_that_are_learned_from_are_not_judged_on():
    setting = with_secrets(1.0, n=400)
    for name, of in asked(setting):
        sizes = [len(side.signal) for side in (of.learning, of.held_out, of.test)]
        assert sizes == {"half": [180, 20, 200], "membership": [360, 40, 400]}.get(name, [400, 300, 400])
    assert (of.test.private == 1).double().mean().item() == pytest.approx(0.5, abs=0.1)


def test_secrets_share_what_is_made_of_the_same_signal():
    setting = with_secrets(1.0, n=100)
    sent, lost, half, _ = (of for _, of in asked(setting))
    assert sent.features is lost.features is setting.features is not half.features


def test_a_task_that_names_none_has_no_table():
    setting = with_secrets(1.0, n=100)
    plain = Setting(
        **{**vars(setting), "test": setting.test.rows(slice(None)).__class__(*list(vars(setting.test).values())[:5])}
    )
    assert attacked(plain, ["secrets"])["secrets"].keys() == {"seconds"} and not ATTACKS["secrets"].of_label
