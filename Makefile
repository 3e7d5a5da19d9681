# Two commands matter: `make demo` and `make test`. Each makes .venv and installs what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ASSAY := $(BIN)/assay
# albumentations and the model hubs must not be asked for anything at import
export NO_ALBUMENTATIONS_UPDATE := 1

ifeq ($(ASSAY_CUDA),1)
CONSTRAINTS :=
else
CONSTRAINTS := -c constraints-cpu.txt
endif

CORPUS := corpora/openclipart
DEMO := runs/demo
BEFORE := runs/demo-before
OPTOUTS := runs/demo-optouts.sqlite
# one of the corpus's artists, who writes the name in two ways; the demo plays that he opts out
ARTIST := Sérgio Luiz Araújo Silva

.PHONY: help demo demo-run demo-optout audit-example test test-all lint docs bench clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/.installed: pyproject.toml constraints-cpu.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v < (3, 13) else f"Assay needs Python 3.10 to 3.12, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25'
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e '.[dev]'
	@touch $@

demo: $(BIN)/.installed ## get the sample corpus, run the whole job on it, balance it until its gates pass, apply an opt-out
	$(ASSAY) corpus openclipart --out $(CORPUS)
	@test -f $(OPTOUTS) || { mkdir -p $(dir $(OPTOUTS)); $(ASSAY) optout init $(OPTOUTS); }
	@test -f $(DEMO)/manifest.json || $(MAKE) --no-print-directory demo-run
	$(ASSAY) status $(DEMO)
	@test -d $(DEMO)/retractions || $(MAKE) --no-print-directory demo-optout
	$(ASSAY) check $(DEMO)
	@test -d $(DEMO)/documents || $(ASSAY) export $(DEMO) --format all --out $(DEMO)/documents
	@echo "report: $(DEMO)/report.html; before its balance: $(BEFORE)/report.html; documents: $(DEMO)/documents"

demo-run: # the gates fail without quotas and pass with them: the same scores, decided twice
	$(ASSAY) run examples/openclipart.yaml --set rights.registry=$(CURDIR)/$(OPTOUTS) --set 'balance.quotas={}' --out $(BEFORE)
	! $(ASSAY) check $(BEFORE)
	$(ASSAY) replay $(BEFORE) --recipe examples/openclipart.yaml --set rights.registry=$(CURDIR)/$(OPTOUTS) --out $(DEMO)
	$(ASSAY) balance $(DEMO)
	$(ASSAY) report $(DEMO)

audit-example: $(BIN)/.installed ## write docs/audit-example.md again, from the demo's runs
	rm -rf runs/audit
	$(ASSAY) replay $(BEFORE) --out runs/audit --set audit.resample=creator \
	  --set 'audit.groups.region_by_keywords={kind: place, column: metadata.keywords}' \
	  --set 'audit.rankings=[{column: similarity, group: region}]'
	$(ASSAY) audit runs/audit >/dev/null
	$(BIN)/python -m benchmarks.audit_example runs/audit --after $(DEMO)

demo-optout: # after the run an artist opts out: the check refuses until the opt-out is applied
	$(ASSAY) check $(DEMO)
	$(ASSAY) optout add $(OPTOUTS) --creator "$(ARTIST)" --requester "the artist (played)" --note "demo"
	! $(ASSAY) check $(DEMO)
	$(ASSAY) optout apply $(DEMO)
	$(ASSAY) optout receipt show $$(ls $(DEMO)/receipts/*.json | tail -1)
	$(ASSAY) optout receipt verify $$(ls $(DEMO)/receipts/*.json | tail -1)

lint: $(BIN)/.installed ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## lint, types and the fast tests (under 15 minutes on two cores)
	$(BIN)/python -m pytest

test-all: lint ## all tests, the slow ones too
	$(BIN)/python -m pytest -m ''

docs: $(BIN)/.installed ## write the generated pages again
	$(BIN)/python scripts/build_docs.py

clean: ## remove the environment and all runs
	rm -rf $(VENV) runs corpora .cache
