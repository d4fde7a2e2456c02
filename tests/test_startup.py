"""What scripts do not import before they know what is asked of them: packages that take a second, and may not be used."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LATER = ("torchvision", "scipy.stats", "skimage", "matplotlib", "sklearn", "mlxtend")


@pytest.mark.parametrize("script", ["train_noise", "train_noise_lenet", "sample_mutual_info", "attack"])
def test_heavy_packages_wait(script):
    found = f"import sys, {script}; print([name for name in {LATER} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", found], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
