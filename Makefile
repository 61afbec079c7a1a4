# `make` alone lists what there is. Needs Python 3.11, make and a package registry; everything made lies in .walras/.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
ENV    := .walras/env
RUN    := $(ENV)/bin/python
LOCAL  := $(RUN) -m infra.local
REPLAY_HOME := .walras/replay
REPLAY := $(LOCAL) --home $(REPLAY_HOME)
STAMP  := $(ENV)/.stamp
PURE   := schemas features jobs infra tests
SPEED  ?=
PART   ?=
DATA   ?=
ARGS   ?=

export GX_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help env run up down status logs clean test check fmt lint types contracts quick platform replay \
        bench chaos fuzz accept-watcher accept-elasticity arena behaviour results lock jars jars-lock schemas

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock infra/local/uv.lock.txt infra/local/bootstrap.py
	@$(PYTHON) infra/local/bootstrap.py
	@touch $@

env: $(STAMP)  ## make the Python environment (once; other targets do it when needed)

run: env  ## start everything with a simulated market and a live view; Ctrl-C stops it (SPEED=60: market seconds a second)
	@$(LOCAL) run $(if $(SPEED),--speed $(SPEED)) $(ARGS)

up: env  ## start everything and return (SPEED=60, ARGS="--without simulate")
	@$(LOCAL) up $(if $(SPEED),--speed $(SPEED)) $(ARGS)

down: env  ## stop exactly what run or up started
	@$(LOCAL) down

status: env  ## show processes, jobs, memory and addresses; `walras status` shows what is wrong
	@$(LOCAL) status

logs: env  ## show the logs (PART=taskmanager for one process, ARGS=-f to follow)
	@$(LOCAL) logs $(PART) $(ARGS)

clean: env  ## stop everything and remove the run's state; environment and jars stay
	@$(LOCAL) clean

test: check platform  ## everything: check, then the same jobs on the real local platform

check: env lint types contracts quick  ## the quick part: format, lint, types, imports, doctests, pure tests (under a minute)

lint: env
	@$(ENV)/bin/ruff format --check -q $(PURE)
	@$(ENV)/bin/ruff check -q $(PURE)

types: env
	@$(ENV)/bin/mypy --no-error-summary

contracts: env
	@PYTHONPATH=. $(ENV)/bin/lint-imports --no-cache

quick: env
	@$(RUN) -m pytest -n 2 -m "not platform" --doctest-modules schemas features jobs infra tests

platform: env
	@$(RUN) -m pytest -m platform tests

replay: env  ## replay recorded data on a platform of its own (DATA=<folder>), check ledger and decisions, stop it
	@test -n "$(DATA)" || { echo "make replay: expected DATA=<folder with recorded files>"; exit 2; }
	@$(REPLAY) clean
	@options=$$($(RUN) -m jobs.replay --data $(DATA) $(ARGS) --prepare $(REPLAY_HOME)) \
	  && $(REPLAY) up --without simulate,edge,ticker,keeper --checkpoint-interval 5 --set CLOCK=data $$options
	@trap '$(REPLAY) down' EXIT; export WALRAS_HOME=$(REPLAY_HOME); \
	  $(RUN) -m jobs.replay --data $(DATA) --wait 3600 $(ARGS) && $(ENV)/bin/walras ledger \
	  && $(ENV)/bin/walras rejected && $(ENV)/bin/walras recompute --all --without-offer

bench: env  ## measure every figure beside its limit or peer, into infra/reports/results/report.json (ARGS="--only quotes,reprice")
	@$(RUN) -m infra.reports.benchmarks $(ARGS)

chaos: env  ## kill parts under a recorded input and compare with an undisturbed run (ARGS="--seed 1-3 --kills 10")
	@$(RUN) -m infra.reports.chaos.drill $(ARGS)

fuzz: env  ## send hostile records in every field of every stream through the jobs' logic (minutes; ARGS="--records 200000")
	@$(RUN) -m infra.reports.fuzz $(ARGS)

accept-watcher: env  ## check the watcher's figures by simulation and draw them (minutes; ARGS=--quick)
	@$(RUN) -m infra.reports.acceptance.accept_watcher $(ARGS)

accept-elasticity: env  ## check the elasticity estimators on recorded and simulated data (minutes; ARGS=--quick)
	@$(RUN) -m infra.reports.acceptance.accept_elasticity $(ARGS)

arena: env  ## compare Walras with simple strategies and a clairvoyant on simulated demand (half an hour; ARGS=--quick)
	@$(RUN) -m infra.reports.arena.arena $(ARGS)

behaviour: env  ## record decisions on fixed inputs, or compare two records (ARGS="record <folder>", "compare <one> <other>")
	@$(RUN) -m infra.reports.behaviour $(ARGS)

results: env  ## write infra/docs/results.md from the reports in infra/reports/results
	@$(RUN) -m infra.reports.results_page

fmt: env  ## format the code and apply safe fixes
	@$(ENV)/bin/ruff format -q $(PURE)
	@$(ENV)/bin/ruff check -q --fix $(PURE)

schemas: env  ## generate every generated file: JSON schemas, input limits, Feast definitions, settings table, decision index
	@$(RUN) -m schemas.json_schema
	@$(RUN) -m jobs.replay.input_limits
	@$(RUN) -m jobs.connectors.feast.feature_repo
	@$(RUN) -m infra.docs.settings_table
	@$(RUN) -m infra.decisions_index

jars: env  ## fetch the jars and verify every checksum
	@$(LOCAL) jars

jars-lock: env  ## resolve the jars' coordinates anew and write their checksums
	@$(RUN) -m infra.local.machine.jars

lock: env  ## resolve pyproject.toml anew and write requirements.lock with hashes
	@$(ENV)/bin/uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --group dev \
	  --custom-compile-command "make lock" -q pyproject.toml -o requirements.lock
