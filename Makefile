# `make` lists the targets. Requires Python 3.11, make and a package index; all generated files are in .walras/.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
ENV    := .walras/env
RUN    := $(ENV)/bin/python
LOCAL  := $(RUN) -m infra.local
REPLAY_HOME := .walras/replay
REFERENCE := .walras/reference
REPLAY := $(LOCAL) --home $(REPLAY_HOME)
STAMP  := $(ENV)/.stamp
PURE   := schemas features jobs infra tests
SPEED  ?=
PART   ?=
DATA   ?=
ARGS   ?=

export GX_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help env run up down status logs clean test check fmt lint types contracts quick platform replay wheel \
        bench chaos edge-drill fuzz forge-locks accept-watcher accept-elasticity references arena behaviour results lock jars jars-lock schemas

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock infra/local/uv.lock.txt infra/local/bootstrap.py
	@$(PYTHON) infra/local/bootstrap.py
	@touch $@

env: $(STAMP)  ## install the Python environment (once; other targets do it when needed)

run: env  ## start everything with a simulated market and the live view until Ctrl-C (SPEED=60: market speed)
	@$(LOCAL) run $(if $(SPEED),--speed $(SPEED)) $(ARGS)

up: env  ## start everything and return (SPEED=60, ARGS="--without simulate")
	@$(LOCAL) up $(if $(SPEED),--speed $(SPEED)) $(ARGS)

down: env  ## stop what run or up started
	@$(LOCAL) down

status: env  ## show the state of parts and jobs
	@$(LOCAL) status

logs: env  ## print the logs of the parts (PART=taskmanager for one, ARGS=-f to follow)
	@$(LOCAL) logs $(PART) $(ARGS)

clean: env  ## stop everything and delete the run's state; environment and jars are kept
	@$(LOCAL) clean

test: check platform  ## check, then the tests on the local platform

check: env lint types contracts quick  ## format, lint, types, import contracts, doctests and tests without a platform

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

replay: env  ## replay recorded data on a platform of its own (DATA=<folder>) and check the ledgers
	@test -n "$(DATA)" || { echo "make replay: expected DATA=<folder with recorded files>"; exit 2; }
	@$(REPLAY) clean
	@options=$$($(RUN) -m jobs.replay --data $(DATA) $(ARGS) --prepare $(REPLAY_HOME)) \
	  && $(REPLAY) up --without simulate,edge,ticker,keeper --checkpoint-interval 5 --set CLOCK=data $$options
	@trap '$(REPLAY) down' EXIT; export WALRAS_HOME=$(REPLAY_HOME); \
	  $(RUN) -m jobs.replay --data $(DATA) --wait 3600 $(ARGS) && $(ENV)/bin/walras ledger \
	  && $(ENV)/bin/walras rejected && $(ENV)/bin/walras recompute --all --without-offer

bench: env  ## throughput, latency, memory, solver time; writes infra/reports/results/report.json (ARGS="--only quotes")
	@$(RUN) -m infra.reports bench $(ARGS)

chaos: env  ## kill parts under a recorded input and compare with an undisturbed run (ARGS="--seed 1-3 --kills 10")
	@$(RUN) -m infra.reports chaos $(ARGS)

edge-drill: env  ## quotes while Redis and Kafka fail, over the rate limit, after a publication (ten minutes; ARGS=--quick)
	@$(RUN) -m infra.reports edge-drill $(ARGS)

fuzz: env  ## hostile records in every field of every stream (minutes; ARGS="--records 200000")
	@$(RUN) -m infra.reports fuzz $(ARGS)

forge-locks: env  ## forged, altered and expired tokens of price locks (minutes; ARGS="--tries 1000000")
	@$(RUN) -m infra.reports forge-locks $(ARGS)

accept-watcher: env  ## acceptance of the watcher by simulation, with its picture (half an hour; ARGS=--quick)
	@$(RUN) -m infra.reports accept-watcher $(ARGS)

accept-elasticity: env  ## acceptance of the elasticities on recorded and simulated data (minutes; ARGS=--quick)
	@$(RUN) -m infra.reports accept-elasticity $(ARGS)

references: env  ## published elasticities of other data sets (installs requirements-reference.lock into REFERENCE)
	@$(RUN) -m pip install -q --require-hashes --no-deps --upgrade --target $(REFERENCE) -r requirements-reference.lock
	@PYTHONPATH=$(REFERENCE) $(RUN) -m infra.reports references $(ARGS)

arena: env  ## Walras against simple pricing methods and a clairvoyant on simulated demand (hours; ARGS=--quick)
	@$(RUN) -m infra.reports arena $(ARGS)

behaviour: env  ## record decisions on fixed inputs, or compare two records (ARGS="record <folder>", "compare <one> <other>")
	@$(RUN) -m infra.reports behaviour $(ARGS)

results: env  ## write infra/docs/results.md from the reports in infra/reports/results
	@$(RUN) -m infra.reports.results_page

fmt: env  ## format the code and apply safe fixes
	@$(ENV)/bin/ruff format -q $(PURE)
	@$(ENV)/bin/ruff check -q --fix $(PURE)

schemas: env  ## generate every generated file: JSON schemas, limits, Feast definitions, settings table, decision index
	@$(RUN) -m schemas.json_schema
	@$(RUN) -m jobs.replay.input_limits
	@$(RUN) -m jobs.connectors.feast.feature_repo
	@$(RUN) -m infra.docs.settings_table
	@$(RUN) -m infra.decisions_index

wheel: env  ## build the wheel of the project into .walras/dist (to install an edge, see operations)
	@$(RUN) -m infra.local.wheel .walras/dist

jars: env  ## download the jars and verify their checksums
	@$(LOCAL) jars

jars-lock: env  ## resolve the jars' coordinates and write their checksums
	@$(RUN) -m infra.local.machine.jars

lock: env  ## resolve pyproject.toml and write the lock files with hashes
	@$(ENV)/bin/uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --extra full --group dev \
	  --custom-compile-command "make lock" -q pyproject.toml -o requirements.lock
	@$(ENV)/bin/uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --extra edge \
	  --constraint requirements.lock --custom-compile-command "make lock" -q pyproject.toml -o requirements-edge.lock
	@$(ENV)/bin/uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --group reference \
	  --constraint requirements.lock --custom-compile-command "make lock" -q -o requirements-reference.lock
