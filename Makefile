# make demo, make test: each sets itself up in .venv, with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-all lint bench bench-cka gpu-check docs results pages faults clean

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[offline,dev]'
	touch $@

demo: $(INSTALLED)  ## 4 source x 15 target languages, real encoder, embedded data; prints where the report is
	$(BIN)/python train.py -m experiment=demo
	$(BIN)/python analyze.py runs=runs/demo output_dir=results/demo

test: $(INSTALLED)  ## fast tests, offline
	$(BIN)/python -m pytest -n 2 --dist loadgroup

test-all: $(INSTALLED)  ## all that this machine can run, with the extras; a real Slurm where it is installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[joblib,slurm,lora,tensorboard,wandb,mlflow,notebook]'
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m ""

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench-cka: $(INSTALLED)  ## CKA beside other packages, which it installs; several minutes; writes docs/bench_cka.md
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench-cka]'
	$(BIN)/python -m benchmarks.bench_cka

bench: $(INSTALLED)  ## speed beside transformers' Trainer, on this machine; an hour on 2 cores; writes docs/bench.md
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m benchmarks.speed

gpu-check:  ## one GPU, eight minutes: tests, figures, runs; with the Python at hand, which has torch (PYTHON=...)
	$(PYTHON) -m benchmarks.gpu_check

docs: $(INSTALLED)  ## the documentation site, site/index.html; opens without a server
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

results: $(INSTALLED)  ## docs/results.md, its figures and the whole report, from the packs in studies/; no model
	$(BIN)/python -m studies.results

pages: $(INSTALLED)  ## run the code of tutorial, gallery and notebook, and write their outputs anew; five minutes
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[notebook]'
	$(BIN)/python docs/executed.py

faults: $(INSTALLED)  ## real faults injected into a real sweep; 12 minutes; disk faults as root only
	$(BIN)/python -m faults

clean:
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache
