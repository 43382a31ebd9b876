# Each target does all the set-up on a fresh machine: a virtual environment, the package, then the work.
PYTHON ?= python3
VENV   ?= .venv
DEMO   ?= runs/demo
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint setup clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: medmm needs Python 3.11 or newer; set PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,workflows]'
	@touch $(STAMP)

# phantom -> finetune -> evaluate -> score; the same chain stands in pipelines/demo/dvc.yaml
demo: $(STAMP)
	rm -rf $(DEMO)
	$(BIN)/python -m medmm.pipelines.phantom --studies 1500 --out $(DEMO)/phantom
	$(BIN)/python -m medmm.pipelines.finetune --task report_gen --config finetune/demo.yaml --data phantom:$(DEMO)/phantom --out $(DEMO)/run
	$(BIN)/python -m medmm.pipelines.evaluate --run $(DEMO)/run --out $(DEMO)/evaluation
	$(BIN)/python -m medmm.pipelines.phantom --studies 24 --seed 1 --out $(DEMO)/night
	$(BIN)/python -m medmm.pipelines.score --run $(DEMO)/run --input $(DEMO)/night --out $(DEMO)/scored

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) runs
