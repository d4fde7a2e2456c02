"""What `paper_figures.py` draws: runs of steps 1 to 3 as points, rows of numbers, plots, and the authors' numbers."""
