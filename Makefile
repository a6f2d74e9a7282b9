# Everything that is done to this repository, on any machine with make and Python 3.11 or newer.
# `make test ARGS="-k name -x"` hands ARGS to pytest; PYTHON picks the interpreter.
.DEFAULT_GOAL := help
# Two targets that want uv at once would get it twice into one place.
.NOTPARALLEL:
PYTHON ?= >=3.11
ARGS ?=
JOBS ?= 3
SEED ?= 1
MINUTES ?= 5
SECONDS ?= 300
FIRST ?= 0
SEEDS ?= 10000
UV := requirements/uv.sh
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header $(ARGS)
TEST = CALLBOARD_TEST_WHEEL=1 $(<D)/bin/pytest --numprocesses $(JOBS) --dist worksteal $(ARGS)
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
HOST_IMAGE ?= callboard-host:$(VERSION)
WORKER_IMAGE ?= callboard-worker:$(VERSION)
# Where .ci/cluster keeps its own.
CLUSTER ?= /var/lib/callboard-cluster
IMAGE := deploy/docker-build.sh --build-arg VERSION=$(VERSION) $(if $(BASE),--build-arg BASE=$(BASE)) $(DOCKER_ARGS)
# Directories too: what is deleted must leave the wheel.
SOURCES := $(shell find services -name __pycache__ -prune -o -print)

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

setup: .venv/.installed ## make .venv: callboard, editable, and every tool

fmt: setup ## format the code and mend what ruff can mend
	.venv/bin/ruff check --fix-only --quiet . && .venv/bin/ruff format .

lint: setup protos/node_modules/.installed ## ruff, import rules, buf
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/lint-imports --no-logo
	protos/node_modules/.bin/buf lint protos

types: setup ## mypy --strict
	.venv/bin/mypy

test: .venv-test/.wheel ## run the tests against the built wheel, newest dependencies; JOBS=3 at once
	$(TEST)

test-oldest: .venv-oldest/.wheel ## the same with the oldest dependencies that pyproject.toml allows
	$(TEST)

test-autogen: setup .venv-autogen/.locked ## run workers of AutoGen itself against a host, and beside workers of ours
	.venv/bin/pytest tests/autogen $(ARGS)

proto: .venv-proto/.locked ## generate the protobuf code
	.venv-proto/bin/python protos/generate.py

proto-check: .venv-proto/.locked ## compare the committed protobuf code with a fresh generation
	.venv-proto/bin/python protos/generate.py --check

check: lint types proto-check ## all that needs no test

demo: setup ## start a host and two workers, and run the samples on them
	.venv/bin/python -m callboard_samples.demo

simulate: setup ## play the whole system under trouble, in virtual time; SEEDS=10000 FIRST=0
	cd tests && ../.venv/bin/python -m simulator --first $(FIRST) --seeds $(SEEDS)

chaos: setup ## kill, stop, cut off and drain real processes under a load, and fill a host; SECONDS=300 (0: the short form) SEED=1
	CHAOS_SECONDS=$(SECONDS) CHAOS_SEED=$(SEED) .venv/bin/pytest tests/chaos --capture=no $(ARGS)

bench: .venv-bench/.wheel $(if $(filter --list --without-autogen,$(ARGS)),,.venv-autogen/.locked) ## measure Callboard beside AutoGen's runtime, and gRPC alone; ROUNDS=3, LONG=1, ARGS="--only latency --without-autogen" (--list: what there is)
	.venv-bench/bin/python tests/bench $(ARGS)

bench-gate: setup ## fail when Callboard's messages cost much more processor time, beside gRPC's alone; ARGS=--write sets the marks anew
	.venv/bin/python tests/bench/gate.py $(ARGS)

bench-core: setup ## measure the bare broker, without I/O
	.venv/bin/python tests/core/bench.py

build: dist/.built ## build the wheel into dist/

images: ## build the images of the host and the worker; BASE=image to build on, DOCKER_ARGS=for docker build
	$(IMAGE) --tag $(HOST_IMAGE) --file Dockerfile.host .
	$(IMAGE) --tag $(WORKER_IMAGE) --file Dockerfile.worker .

images-test: setup ## run the built images with Docker, and test what they do
	HOST_IMAGE=$(HOST_IMAGE) WORKER_IMAGE=$(WORKER_IMAGE) IMAGE_BUILDER='$(IMAGE)' .venv/bin/pytest tests/images $(ARGS)

cluster: ## start a Kubernetes of one node, for tests, on a machine that can pull no images; wants root
	.ci/cluster/packages.sh
	.ci/images/docker.sh
	bin=$$(.ci/cluster/build.sh) && python3 .ci/cluster/cluster.py up --bin $$bin
	python3 .ci/cluster/cluster.py import $(HOST_IMAGE) $(WORKER_IMAGE)
	rm -f $(CLUSTER)/bin/helm && ln -s "$$(.ci/tools/helm.sh --path)" $(CLUSTER)/bin/helm

cluster-down: ## stop it, and remove its state and what it built in Docker
	python3 .ci/cluster/cluster.py down

e2e: setup ## test the chart and the images on a cluster: that of `make cluster`, or else KUBECONFIG's
	PATH="$(CLUSTER)/bin:$$PATH" KUBECONFIG="$${KUBECONFIG:-$(wildcard $(CLUSTER)/kubeconfig)}" WORKER_IMAGE=$(WORKER_IMAGE) .venv/bin/pytest tests/e2e $(ARGS)

soak: setup ## on that cluster, let anything happen to workers under a load; SEED=1 MINUTES=5
	PATH="$(CLUSTER)/bin:$$PATH" KUBECONFIG="$${KUBECONFIG:-$(wildcard $(CLUSTER)/kubeconfig)}" WORKER_IMAGE=$(WORKER_IMAGE) SEED=$(SEED) MINUTES=$(MINUTES) .venv/bin/pytest tests/e2e/soak.py --capture=no $(ARGS)

chart: setup ## render the Helm chart in many ways, and test the renders
	.ci/tools/helm.sh version --short && .ci/tools/helm-docs.sh --help >/dev/null
	.venv/bin/pytest tests/chart $(ARGS)

chart-docs: ## write the chart's README from its values
	.ci/tools/helm-docs.sh --chart-search-root charts/callboard --sort-values-order file --log-level warning

lock: ## pin what pyproject.toml asks for; ARGS=--upgrade takes the newest of it
	$(COMPILE) --extra dev pyproject.toml --output-file requirements/dev.txt
	$(COMPILE) --extra test pyproject.toml --constraints requirements/dev.txt --output-file requirements/test.txt
	$(COMPILE) --extra test pyproject.toml requirements/bench.in --constraints requirements/dev.txt --output-file requirements/bench.txt
	$(COMPILE) --extra test pyproject.toml --resolution lowest-direct --output-file requirements/oldest.txt
	$(COMPILE) --extra host --extra otel pyproject.toml --constraints requirements/dev.txt --output-file requirements/host.txt
	$(COMPILE) --extra cli --extra worker --extra otel pyproject.toml --constraints requirements/dev.txt --output-file requirements/worker.txt
	$(COMPILE) requirements/proto.in --output-file requirements/proto.txt
	$(COMPILE) requirements/autogen.in --output-file requirements/autogen.txt
	$(COMPILE) requirements/uv.in --output-file requirements/uv.txt
	$(COMPILE) requirements/go.in --output-file requirements/go.txt

clean: ## remove all that make made
	rm -rf .tools .venv .venv-* dist bench-results protos/node_modules .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find services tests protos -name __pycache__ -prune -exec rm -r {} +

define environment
$(UV) venv --quiet --clear --python '$(PYTHON)' $(@D)
$(UV) pip sync --quiet --python $(@D) --require-hashes $<
@touch $@
endef

.venv/.locked: requirements/dev.txt
	$(environment)

.venv-%/.locked: requirements/%.txt
	$(environment)

.venv/.installed: .venv/.locked pyproject.toml
	$(UV) pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
	@touch $@

.venv-%/.wheel: .venv-%/.locked dist/.built
	$(UV) pip install --quiet --python .venv-$* --no-deps --reinstall dist/*.whl
	@touch $@

dist/.built: .venv/.installed pyproject.toml README.md LICENSE $(SOURCES)
	rm -rf dist && .venv/bin/hatchling build --target wheel
	@touch $@

protos/node_modules/.installed: protos/package.json protos/package-lock.json
	@command -v npm >/dev/null || { echo "buf comes from npm, which is missing: install it (on Debian: apt-get install npm)" >&2; exit 1; }
	npm ci --prefix protos --ignore-scripts --no-audit --no-fund
	@touch $@

.PHONY: help setup fmt lint types test test-oldest test-autogen proto proto-check check demo simulate chaos bench bench-gate bench-core build images images-test cluster cluster-down e2e soak chart chart-docs lock clean
.PRECIOUS: .venv-%/.locked
