# Two commands for a fresh machine: `make reproduce`, `make test`. Python 3.11 or later is expected.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Folder of MNIST for `make full`; it is downloaded there if absent.
DATA_ROOT ?= data
# torch's build: cuda is the package index's own, gigabytes of it for GPUs; cpu one without, from an index that keeps such builds
# (PIP_EXTRA_INDEX_URL, see docs/speed.md); auto takes cpu where such an index is named and no GPU is found.
TORCH ?= auto
ifeq ($(TORCH),auto)
override TORCH := $(if $(PIP_EXTRA_INDEX_URL),$(if $(shell command -v nvidia-smi),cuda,cpu),cuda)
endif
ifeq ($(filter cpu cuda,$(TORCH)),)
$(error TORCH: found $(TORCH), expected cpu, cuda or auto)
endif
BIN := .venv/bin

.PHONY: reproduce full cifar10 figures attacks defences test lint bench
.DEFAULT_GOAL := reproduce

## The paper's three steps on 5,000 embedded digits, for LeNet and AlexNet, its figures from few points, and what attacks read.
reproduce: .venv/runtime
	$(call steps,lenet,LeNet)
	@$(BIN)/python -m paper.summary runs
	$(call steps,alexnet,AlexNet)
	@echo "=== The paper's figures, quick ones, from few points, and what informed adversaries read, of defences of others, too"
	$(BIN)/python paper_figures.py --quick --figure all attacks defences
	@cat runs/figures/attacks.md runs/figures/defences.md
	@echo "=== Summary"
	@$(BIN)/python -m paper.summary runs
	@echo "notebooks: runs/lenet/mutual_info_ite.ipynb, runs/alexnet/mutual_info_ite.ipynb"
	@echo "figures: runs/lenet/figures, runs/alexnet/figures, runs/figures"

## LeNet's on all of MNIST, as the paper has it.
full: .venv/runtime
	$(BIN)/python train_noise_lenet.py --dataset mnist --data-root $(DATA_ROOT) --members 150 --output runs/lenet-mnist/noise
	$(BIN)/python sample_mutual_info_lenet.py --dataset mnist --data-root $(DATA_ROOT) --seed 0 \
		--noise runs/lenet-mnist/noise --output runs/lenet-mnist/sample
	$(call notebook,runs/lenet-mnist)

## The steps on CIFAR-10 from the shipped weights: ten minutes. DATA_ROOT holds the data set, or receives it.
cifar10: .venv/runtime
	$(BIN)/python train_noise.py --task cifar10 --data-root $(DATA_ROOT)
	$(BIN)/python sample_mutual_info.py --noise runs/cifar10/noise --data-root $(DATA_ROOT) --seed 0
	$(call notebook,runs/cifar10)

## The paper's figures: LeNet's on all of MNIST, AlexNet's on the embedded digits.
figures: .venv/runtime
	$(BIN)/python paper_figures.py --data-root $(DATA_ROOT)

## What informed adversaries read under each method, at every cutting point, on the embedded digits: hours.
attacks: .venv/runtime
	$(BIN)/python paper_figures.py --figure attacks --output runs/attacks

## The paper's noise and defences of others at equal accuracy, at every cutting point, over SEEDS seeds; on the embedded digits, or
## with DIGITS=mnist on all of MNIST; GROUNDS="lenet cifar10" for both networks.
SEEDS ?= 1
DIGITS ?= mnist-5k
GROUNDS ?= lenet
defences: .venv/runtime
	$(BIN)/python paper_figures.py --figure defences --seeds $(SEEDS) --dataset $(DIGITS) --grounds $(GROUNDS) \
		--data-root $(DATA_ROOT) --output runs/defences --points runs/defences/points

# Steps 1 to 3 of the task $(1), which is called $(2), in runs/$(1).
define steps
@echo "=== $(2), step 1 of 3: learn noise on 5,000 digits, under a minute"
$(BIN)/python train_noise_$(1).py --output runs/$(1)/noise
@echo "=== $(2), step 2 of 3: 1,000 queries, a draw of noise for each, seconds"
$(BIN)/python sample_mutual_info_$(1).py --seed 0 --noise runs/$(1)/noise --output runs/$(1)/sample
@echo "=== $(2), step 3 of 3: mutual information before and after, under 20 seconds"
$(call notebook,runs/$(1))
endef

# Step 3 on the sample in $(1)/sample; leaves the executed notebook in $(1), figures and their record in $(1)/figures.
define notebook
SAMPLE=$(1)/sample FIGURES=$(1)/figures $(BIN)/jupyter nbconvert --log-level ERROR --to notebook --execute \
	mutual_info_ite.ipynb --output-dir $(1)
@echo "$(1)/figures:"; sed -n '/"results"/,$$p' $(1)/figures/run.json
@echo "notebook in $(1)/mutual_info_ite.ipynb"
endef

test: .venv/development
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

lint: .venv/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: .venv/development
	$(BIN)/python -m benchmarks.learning --data-root $(DATA_ROOT)
	$(BIN)/python -m benchmarks.sampling --data-root $(DATA_ROOT)
	$(BIN)/python -m benchmarks.neighbors --data-root $(DATA_ROOT)
	$(BIN)/python -m benchmarks.distances --data-root $(DATA_ROOT)
	$(BIN)/python -m benchmarks.mutual_information
	$(BIN)/python -m benchmarks.bracket
	$(BIN)/python -m benchmarks.splitting
	$(BIN)/python -m benchmarks.attacking
	$(BIN)/python -m benchmarks.epochs
	$(BIN)/python -m benchmarks.ranks --data-root $(DATA_ROOT)
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.startup
	@test ! -f runs/alexnet/figures/run.json || $(BIN)/python -m benchmarks.steps

.venv/runtime: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	sed '/^torch/s/$$/$(if $(filter cpu,$(TORCH)),+cpu)/' requirements.txt > .venv/requirements.txt
	$(BIN)/pip install --quiet --requirement .venv/requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

.venv/development: .venv/runtime requirements-dev.txt
	$(BIN)/pip install --quiet --requirement requirements-dev.txt
	@touch $@
