# `make` alone prints what can be made. Everything runs in .venv, which `make setup` fills from requirements.lock.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN ?= .venv/bin
GRPC ?= 127.0.0.1:7766
HTTP ?= 127.0.0.1:8080
DATA ?= .perdure
SEEDS ?= 2000
CASES ?= 200
SECONDS ?= 120

STUBS := clients/python
PROTOS := $(wildcard proto/perdure/v1/*.proto)
SERVICES := $(filter %_service.proto,$(PROTOS))
ORDERS := clients/python/examples/orders
# Proved by their own tests alone, at full branch coverage.
PURE := tests/core tests/replay
# Take minutes, because what they prove does.
SLOW := tests/slow

.PHONY: help setup run demo test test-pure test-rest check lint type proto proto-check \
	rest routes envoy-check diagrams sim fuzz crash chaos slow bench fmt lock clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' \
		| awk -F'|' '{ printf "  make %-12s %s\n", $$1, $$2 }'

setup: .venv/.stamp ## Create .venv with Perdure and all tools (quick when up to date)

.venv/.stamp: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Perdure needs Python 3.11 or later; $(PYTHON) is older. Try: make PYTHON=python3.11 setup" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup ## Start the server on SQLite with the example worker, and say what to type next
	@$(BIN)/python $(ORDERS)/run.py --data $(DATA) --grpc $(GRPC) --http $(HTTP)

demo: setup ## Run the orders example through kill -9 of its worker and of its server
	@$(BIN)/python $(ORDERS)/demo.py

test: setup test-pure test-rest ## Run all tests; core and replay at 100% branch coverage

test-pure: setup
	$(BIN)/pytest -q $(PURE) --cov=perdure_server.core --cov=perdure._replay --cov-branch \
		--cov-report=term-missing:skip-covered --cov-fail-under=100

test-rest: setup
	$(BIN)/pytest -q tests $(addprefix --ignore=,$(PURE) $(SLOW))

check: lint type proto-check envoy-check test ## Everything that continuous integration runs

lint: setup ## Style, formatting, import direction, and the contract's own rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/buf lint proto
	$(BIN)/buf format proto --path proto/perdure --diff --exit-code
	@if git cat-file -e main:proto/buf.yaml 2>/dev/null; then \
		echo "buf breaking, against main"; \
		$(BIN)/buf breaking proto --against "$$(git rev-parse --git-common-dir)#branch=main,subdir=proto"; fi

type: setup ## Types, strictly
	$(BIN)/mypy

proto: setup ## Generate from proto/ the Python stubs and what REST needs
	$(call generate,$(STUBS))
	$(MAKE) --no-print-directory rest

rest: setup ## Derive from the contract what REST needs: Envoy's descriptors and the OpenAPI document
	$(BIN)/python -m perdure_server.rest.descriptor
	$(call describe,server/perdure_server/rest/openapi.json)

routes: setup ## Write the table of routes in README.md
	$(BIN)/python -m tests.rest.routes

proto-check: setup ## Fail when the committed stubs are not what proto/ gives
	@out=$$(mktemp -d); trap 'rm -rf "$$out"' EXIT; \
	$(call generate,$$out); \
	diff -r --exclude=__init__.py --exclude=__pycache__ "$$out/perdure/v1" $(STUBS)/perdure/v1 \
		|| { echo "The stubs are stale: run 'make proto' and commit." >&2; exit 1; }; \
	echo "stubs are fresh"; \
	$(BIN)/python -m perdure_server.rest.descriptor "$$out/perdure.pb"; \
	cmp "$$out/perdure.pb" server/perdure_server/rest/perdure.pb \
		|| { echo "Envoy's descriptors are stale: run 'make rest' and commit." >&2; exit 1; }; \
	echo "Envoy's descriptors are fresh"; \
	$(call describe,"$$out/openapi.json"); \
	cmp "$$out/openapi.json" server/perdure_server/rest/openapi.json \
		|| { echo "The OpenAPI document is stale: run 'make rest' and commit." >&2; exit 1; }; \
	echo "the OpenAPI document is fresh"

envoy-check: setup ## Let Envoy judge envoy.yaml
	@if envoy=$$(PATH="$(BIN):$$PATH" command -v envoy); then "$$envoy" --mode validate --log-level error -c envoy.yaml; \
		else echo "there is no Envoy for this platform, so nobody judged envoy.yaml"; fi

# $(1) is the folder that receives perdure/v1. Only services get a _grpc module.
define generate
$(BIN)/python -m grpc_tools.protoc -Iproto -Iproto/third_party \
	--python_out=$(1) --pyi_out=$(1) $(PROTOS) \
&& $(BIN)/python -m grpc_tools.protoc -Iproto -Iproto/third_party --grpc_python_out=$(1) $(SERVICES)
endef

# $(1) is the file that receives the OpenAPI document. Its texts are the comments, which the stubs do not have.
define describe
contract=$$(mktemp) \
&& $(BIN)/python -m grpc_tools.protoc -Iproto -Iproto/third_party --include_imports --include_source_info \
	--descriptor_set_out=$$contract $(PROTOS) \
&& $(BIN)/python -m perdure_server.rest.openapi $$contract $(1) && rm $$contract
endef

diagrams: setup ## Draw the state diagrams of server/README.md from the transition tables
	$(BIN)/python -m tests.tidy.diagrams

sim: setup ## Simulate more seeds: make sim SEEDS=10000
	$(BIN)/pytest -q tests/simulation --seeds=$(SEEDS) --timeout=0

fuzz: setup ## Try random calls on all backends and requests over REST, for long: make fuzz CASES=500
	$(BIN)/pytest -q tests/api/test_random_calls.py --cases=$(CASES) --timeout=0 -o faulthandler_timeout=0
	$(BIN)/python -W ignore -m tests.rest.fuzz $(CASES)

crash: setup ## Only the tests that kill the server
	$(BIN)/pytest -q tests/crash

chaos: setup ## Strike servers and PostgreSQL under load: make chaos SECONDS=30 NAMES="kill cut"
	@$(BIN)/python -m tests.chaos --seconds $(SECONDS) $(NAMES)

slow: setup ## Only what waits for minutes behind Envoy; takes six of them
	$(BIN)/pytest -q $(SLOW) -o faulthandler_timeout=0

bench: setup ## Measure; prints a table and JSON, takes minutes
	$(BIN)/python -m tests.bench

fmt: setup ## Format everything
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	$(BIN)/buf format proto --path proto/perdure --write

lock: setup ## Pin the newest allowed versions in requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip compile pyproject.toml --quiet --group dev --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --output-file requirements.lock

clean: ## Remove what the tools made, except .venv
	rm -rf .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .bench dist
	find clients server tests -name __pycache__ -type d -prune -exec rm -rf {} +
