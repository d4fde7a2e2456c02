"""Step 1 for any task: learn noise for a frozen network that is cut in two. See docs/results.md, docs/extending.md.

    python train_noise.py --task lenet                      # as train_noise_lenet.py
    python train_noise.py --task my_task.py --method fresh

The edge runs once over the training images; noise is learned on its output until the held-out tenth accepts it. The folder
`--output`, runs/TASK/noise by default, receives what was learned, training.csv, curves.csv and run.json, which says what it was
learned for: `--noise FOLDER` is all that step 2 and the attack need. Interrupted, the same command continues where it was.
"""

from shredder.io.cli import script
from shredder.learn.step import Arguments
from shredder.learn.step import run as main

if __name__ == "__main__":
    script(main, Arguments)
