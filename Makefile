# Two commands matter: `make demo` and `make test`. Each makes .venv and installs what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ASSAY := $(BIN)/assay
# a test process a core, four at most; one file's tests share one
PYTEST := $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile
# albumentations and the model hubs must not be asked for anything at import
export NO_ALBUMENTATIONS_UPDATE := 1
# tests and jobs start many processes: with this set, each would compile every module again
unexport PYTHONDONTWRITEBYTECODE

ifeq ($(ASSAY_CUDA),1)
CONSTRAINTS :=
else
CONSTRAINTS := -c constraints-cpu.txt
endif

CORPUS := corpora/openclipart
DEMO := runs/demo
BEFORE := runs/demo-before
OPTOUTS := runs/demo-optouts.sqlite
MODEL := runs/demo-model
KEYS := runs/demo-keys
PICTURES := runs/demo-pictures
OURS := --trust $(KEYS)/root.pem --registry $(PICTURES)/hallmarks.sqlite --watermark-key $(KEYS)/watermark.key
VERIFY := $(ASSAY) verify $(OURS)
# one of the corpus's artists, who writes the name in two ways; the demo plays that he opts out
ARTIST := Sérgio Luiz Araújo Silva

.PHONY: help demo demo-run demo-optout demo-train demo-pictures audit-example test test-faults test-all lint screenshots docs bench sbom clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/.installed: pyproject.toml constraints-cpu.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else f"the versions that make installs need Python 3.11 or 3.12, {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25'
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e '.[dev]'
	@touch $@

demo: $(BIN)/.installed ## the whole way: corpus, run, gates, opt-out, documents, a small model, pictures with their hallmark
	$(ASSAY) corpus openclipart --out $(CORPUS)
	@test -f $(OPTOUTS) || { mkdir -p $(dir $(OPTOUTS)); $(ASSAY) optout init $(OPTOUTS); }
	@test -f $(DEMO)/manifest.json || $(MAKE) --no-print-directory demo-run
	$(ASSAY) status $(DEMO)
	@test -d $(DEMO)/retractions || $(MAKE) --no-print-directory demo-optout
	$(ASSAY) check $(DEMO)
	@test -d $(DEMO)/documents || $(ASSAY) export $(DEMO) --format all --out $(DEMO)/documents
	@test -f $(MODEL)/.done || $(MAKE) --no-print-directory demo-train
	@test -f $(PICTURES)/.done || $(MAKE) --no-print-directory demo-pictures
	@echo "report: $(DEMO)/report.html; before its balance: $(BEFORE)/report.html; documents: $(DEMO)/documents"
	@echo "model: $(MODEL); pictures: $(PICTURES); all of it in a browser: $(ASSAY) serve runs"

demo-run: # the gates fail without quotas and pass with them: the same scores, decided twice
	$(ASSAY) run examples/openclipart.yaml --set rights.registry=$(CURDIR)/$(OPTOUTS) --set 'balance.quotas={}' --out $(BEFORE)
	$(ASSAY) check $(BEFORE) && exit 1 || test $$? -eq 3
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
	$(ASSAY) check $(DEMO) && exit 1 || test $$? -eq 3
	$(ASSAY) optout apply $(DEMO)
	$(ASSAY) optout receipt show $$(ls $(DEMO)/receipts/*.json | tail -1)
	$(ASSAY) optout receipt verify $$(ls $(DEMO)/receipts/*.json | tail -1)

demo-train: # only what the check has cleared; killed and started again, it resumes
	$(ASSAY) train examples/train/demo.yaml --data $(DEMO) --registry $(OPTOUTS) --out $(MODEL)
	@touch $(MODEL)/.done

demo-pictures: # made, marked, signed, registered; then one is stripped and recovered, one tampered with and caught
	@test -d $(KEYS) || $(ASSAY) keys init $(KEYS)
	$(ASSAY) generate $(MODEL) --prompt "a red balloon" --prompt "a tree" --mark noise --count 2 --steps 20 \
	  --run $(DEMO) --registry $(OPTOUTS) --keys $(KEYS) --out $(PICTURES)
	$(VERIFY) $(PICTURES)
	$(BIN)/python examples/tamper.py $(PICTURES)/p00000-s0.png runs/demo-stripped.jpg runs/demo-tampered.png
	$(VERIFY) --model $(MODEL) runs/demo-stripped.jpg && exit 1 || test $$? -eq 3
	$(VERIFY) runs/demo-tampered.png && exit 1 || test $$? -eq 3
	$(ASSAY) lineage $(PICTURES)/p00000-s0.png --run $(DEMO) $(OURS)
	@touch $(PICTURES)/.done

lint: $(BIN)/.installed ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## lint, types and the fast tests (under 15 minutes on two cores)
	$(PYTEST)

test-faults: $(BIN)/.installed ## kills at random moments, broken disks and stores, damaged files
	$(PYTEST) -m faults

test-all: lint ## all tests, the slow ones too; browser tests want chromium, and are skipped where it cannot be had
	@command -v chromium >/dev/null || apt-get install -y -qq --no-install-recommends chromium || true
	$(PYTEST) --no-loadscope-reorder -m ''

screenshots: $(BIN)/.installed ## take README's pictures of the dashboard again, from the demo's run
	$(BIN)/python scripts/screenshots.py runs

docs: $(BIN)/.installed ## write the generated pages again
	$(BIN)/python scripts/build_docs.py

bench: $(BIN)/.installed ## benchmarks held against benchmarks/floors.yaml; page in runs/bench (peers: benchmarks.peers_install)
	$(ASSAY) corpus openclipart --out $(CORPUS)
	$(BIN)/python -m benchmarks.floors

sbom: $(BIN)/.installed ## the bill of materials of what is installed, CycloneDX: runs/sbom.cdx.json
	$(BIN)/python scripts/sbom.py runs/sbom.cdx.json

clean: ## remove the environment and all runs
	rm -rf $(VENV) runs corpora .cache
