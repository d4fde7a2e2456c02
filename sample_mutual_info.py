"""Step 2 for any task: sample noisy and clean activations to .npy, one draw of noise for each query. See docs/files.md.

    python sample_mutual_info.py --noise runs/lenet/noise
    python sample_mutual_info.py --task alexnet             # with the noise that ships

Task, labels, cutting point and draw are those of the noise's run.json; noise that was learned for others is refused. The folder
`--output`, runs/TASK/sample by default, receives noisy_activations.npy, original_activations.npy, original_images.npy,
labels.npy, public_labels.npy, draws.csv and run.json. Step 3, mutual_info_ite.ipynb, reads them.
"""

from shredder.io.cli import script
from shredder.sample.step import Arguments
from shredder.sample.step import run as main

if __name__ == "__main__":
    script(main, Arguments)
