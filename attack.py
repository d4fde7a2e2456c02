"""What informed adversaries recover from noisy activations, for any task. See docs/adversaries.md.

    python attack.py --task lenet                                      # shipped tensors (v2), embedded digits, four minutes
    python attack.py --noise runs/lenet/noise --attacks trained member
    python attack.py --task alexnet                                    # shipped tensors (v1): the image, two minutes

The adversary knows the edge network, what was learned and how draws are made, but not the draw, and has training data of its
own. Each attack is trained on new draws, stopped early by the held-out tenth, and judged once on the test images. `--output`,
runs/TASK/attacks by default, receives attacks.csv (a row for each attack: accuracies in [0, 1] with Wilson's 95 % interval;
floor, the best guess given the true public label; ceiling, the same attack without noise), reconstruction.csv, their figures,
and run.json with bounds in bits. Where no private label is left, the image is attacked alone. Finished attacks are kept in
`--output`/attacks: interrupted, the same command goes on after them.
"""

from shredder.attack.step import Arguments
from shredder.attack.step import run as main
from shredder.io.cli import script

if __name__ == "__main__":
    script(main, Arguments)
