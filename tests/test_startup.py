"""What scripts do not import before they know what is asked of them: packages that take a second, and may not be used."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPTS = ("train_noise", "train_noise_lenet", "sample_mutual_info", "attack")
LATER = ("torchvision", "scipy.stats", "skimage", "matplotlib", "sklearn", "mlxtend")


def test_heavy_packages_wait():
    """In one process, for torch takes a second and a half: what none of the scripts has imported is asked after each."""
    found = f"""if True:
        import importlib, sys
        for script in {SCRIPTS}:
            importlib.import_module(script)
            print(script, [name for name in {LATER} if name in sys.modules])
    """
    run = subprocess.run([sys.executable, "-c", found], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [f"{script} []" for script in SCRIPTS]
