# Everything runs in .venv, which is made from the lock file on first use. `make help` lists the commands.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m
LOCK := requirements-dev.lock
RUN_TIME_LOCK := requirements.lock
SBOM := build/sbom.cdx.json

.DEFAULT_GOAL := help

.PHONY: help
help: ## List the commands.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.installed: $(LOCK) pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check --require-hashes --requirement $(LOCK)
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

.PHONY: install
install: $(VENV)/.installed ## Make the virtual environment.

.PHONY: demo
demo: install ## Six machines, a stream of pods, no cluster: where each pod goes and why. KEEP=1 stays up.
	$(RUN) benchmarks demo $(if $(KEEP),--keep)

.PHONY: demo-cluster
demo-cluster: install ## The same with a real kube-apiserver and kube-scheduler, built on first use.
	$(RUN) benchmarks demo-cluster $(if $(KEEP),--keep)

.PHONY: lint
lint: install ## Formatting, lint, types, layers.
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports

.PHONY: test
test: lint ## Everything: lint, then all tests, the real control plane included (built on first use).
	$(RUN) pytest

.PHONY: test-gpu
test-gpu: install ## The tests that need a real GPU; says when there is none.
	$(RUN) pytest -m gpu -rs

.PHONY: bench
bench: install ## Every benchmark and experiment in under 20 minutes, beside its target; figures in build/bench.json.
	$(RUN) benchmarks bench --output build/bench.json

.PHONY: docs
docs: install ## The documentation as a site, in build/site.
	$(RUN) docs_site.settings_page
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict

.PHONY: lock
lock: install ## Bring the lock files up to date with pyproject.toml. Hashes only: no registry is named.
	$(RUN) pip install --quiet uv
	$(RUN) uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --quiet --output-file $(LOCK)
	$(RUN) uv pip compile pyproject.toml --constraint $(LOCK) --universal --python-version 3.11 --generate-hashes --no-header --quiet --output-file $(RUN_TIME_LOCK)

.PHONY: sbom
sbom: install ## Write the software bill of materials of what the images install, CycloneDX JSON, into build/.
	mkdir -p $(dir $(SBOM))
	$(RUN) cyclonedx_py requirements $(RUN_TIME_LOCK) --pyproject pyproject.toml --output-reproducible --output-format JSON --output-file $(SBOM)

.PHONY: audit
audit: install ## Look for known vulnerabilities in what the images install. Needs PyPI's list of them.
	$(RUN) pip install --quiet pip-audit
	$(RUN) pip_audit --disable-pip --require-hashes --requirement $(RUN_TIME_LOCK)

.PHONY: protos
protos: install ## Generate the gRPC stubs of the kubelet's API again.
	$(RUN) grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. topology_agent/kubelet/podresources.proto
