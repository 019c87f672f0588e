.DEFAULT_GOAL := help
.PHONY: docs notebooks ci debian pull metrics-diff comment deploy dist wheel sbom smoke smoke-here check-workflows help setup train test test-oldest coverage test-fast test-slow test-serve serve load-test monitor pipeline check-pipeline results wandb-sweep bench-tabnet bench-prepare lint lint-page format typecheck check-conf clean distclean test-images

VENV := .venv
ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN := $(VENV)/Scripts
else
PYTHON ?= python3
BIN := $(VENV)/bin
endif
SBOM := sbom
EXTRAS := train,export,serve,tune,gbdt,data,launch,ray,dev
READY := $(VENV)/.ready
# What make train and make serve need, and export between them. Where make setup has been, all is there.
FIRST := train,export,serve
FIRST_READY := $(or $(wildcard $(READY)),$(VENV)/.ready-first)
PAGE_TOOLS := tests/page/node_modules/.ready
ARGS ?=
SWEEP ?= tabnet_handbook
DEBIAN := postgresql curl redis-server prometheus prometheus-alertmanager chromium nodejs npm
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo -E)
SOME_BUNDLE = ls outputs/*/*/bundle/manifest.json >/dev/null 2>&1 || { run=outputs/train/served_$$(date +%s) && \
	$(BIN)/python -m fraudlab.train hydra.run.dir=$$run && $(BIN)/python -m fraudlab.export run=$$run; }

help: ## show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv with the exact versions of constraints.txt

# torch first and by exact version: its CPU build serves every later requirement. All that is said goes to standard error,
# so that the output of wandb-sweep can be redirected. At a terminal pip shows its progress.
$(READY): WANTED = $(EXTRAS)
$(VENV)/.ready-first: WANTED = $(FIRST)
$(READY) $(VENV)/.ready-first: pyproject.toml constraints.txt
	@command -v $(PYTHON) >&2 || { echo "error: no $(PYTHON); set PYTHON=<python 3.11 or newer>" >&2; exit 1; }
	@echo "1 of 3: making $(VENV); all three take some minutes, once" >&2
	@$(PYTHON) -m venv $(VENV) >&2
	@torch=$$(grep '^torch==' constraints.txt) && echo "2 of 3: installing $$torch, the largest part" >&2 && \
		$(BIN)/pip install $$(test -t 2 || echo --quiet) "$$torch" >&2
	@echo "3 of 3: installing fraudlab with $(WANTED)" >&2
	@$(BIN)/pip install $$(test -t 2 || echo --quiet) -c constraints.txt -e '.[$(WANTED)]' >&2
	@touch $@

train: $(FIRST_READY) ## train TabNet on the book's protocol; ARGS="experiment=handbook seed=1" for more
	$(BIN)/python -m fraudlab.train $(ARGS)

test: $(READY) ## run the tests, all but the slow ones
	$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

coverage: ## run the tests as make test does, and say which lines none of them runs; half as long again
	@$(MAKE) test ARGS="--cov --cov-report=term:skip-covered --cov-fail-under=90 $(ARGS)"

test-fast: $(READY) ## run the tests that start no process, no server and train little, in two minutes
	$(BIN)/python -m pytest -m "not slow and not process and not long" -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

test-images: $(READY) ## lint the Dockerfiles, build them in chroots and run what they make; as root, with debootstrap
	$(ROOT) $(BIN)/python -m pytest tests/docker $(ARGS)

test-slow: $(READY) ## run the slow tests: kills, floods, real proxies, installs; one after the other
	$(BIN)/python -m pytest -m slow $(ARGS)

test-serve: $(READY) ## the commands of a serving host in an environment of the wheel with the extra serve alone
	$(BIN)/python -m pytest tests/test_serve_extra.py

smoke: ## train two steps, export and predict with the extras for that alone, in .venv-smoke: does it run on this system
	$(MAKE) smoke-here VENV=.venv-smoke EXTRAS=$(FIRST)

# Not beneath outputs/, where make serve would take its bundle for the newest.
smoke-here: SMOKE := $(VENV)/smoke
smoke-here: $(READY)
	rm -rf $(SMOKE)
	$(BIN)/python -m fraudlab.simulate out=$(SMOKE)/data rows=3000
	$(BIN)/python -m fraudlab.train debug=fast data=ieee_cis data.raw_dir=$(SMOKE)/data hydra.run.dir=$(SMOKE)/run
	$(BIN)/python -m fraudlab.export run=$(SMOKE)/run
	$(BIN)/python -m fraudlab.predict bundle=$(SMOKE)/run/bundle input=$(SMOKE)/data/train_transaction.csv \
		output=$(SMOKE)/scores.csv

# Versions of what those need in turn are the newest.
test-oldest: ## make test-fast with the oldest version of each package that pyproject.toml allows, in .venv-oldest
	@$(PYTHON) -m venv --clear .venv-oldest
	@.venv-oldest/$(notdir $(BIN))/pip install --quiet "$$(grep '^uv==' constraints.txt)"
	.venv-oldest/$(notdir $(BIN))/uv pip install --quiet --python .venv-oldest --resolution lowest-direct -e '.[$(EXTRAS)]'
	@touch .venv-oldest/.ready
	$(MAKE) test-fast VENV=.venv-oldest

check-workflows: $(READY) ## run what the workflows run on Linux, in a fresh clone; ARGS="docs dist" for some targets (an hour)
	$(BIN)/python -m tests.support.workflows $(ARGS)

ci: ## what a change must pass
	bash .ci/run

# A database that sweeps share, a store of a server's history, clients and proxies of the server, what watches it; a browser
# for the page, and what checks its JavaScript. Without one its tests skip; where FRAUDLAB_MUST=1 this fails instead.
debian: ## install the real parts that tests start, as root on Debian or Ubuntu
	@if command -v apt-get >/dev/null; then \
		missing=""; for package in $(DEBIAN); do dpkg -s $$package >/dev/null 2>&1 || missing="$$missing $$package"; done; \
		if [ -n "$$missing" ]; then \
			root=""; [ "$$(id -u)" = 0 ] || root="sudo -n"; \
			{ $$root apt-get update -qq && $$root apt-get install -y -qq --no-install-recommends $$missing; } || \
			{ echo "not installed:$$missing"; test "$$FRAUDLAB_MUST" != 1; }; fi; \
	fi

serve: $(FIRST_READY) ## serve the newest bundle on 127.0.0.1:8000; trains and exports one first if there is none
	@$(SOME_BUNDLE)
	$(BIN)/python -m fraudlab.serve $(ARGS)

pipeline: $(READY) ## prepare, train, evaluate, export by DVC, as far as anything changed; then commit dvc.lock
	PATH="$(abspath $(BIN)):$$PATH" dvc repro $(ARGS)

check-pipeline: $(READY) ## say whether dvc.lock is of this code and these settings; make pipeline makes it anew
	@status=$$(PATH="$(abspath $(BIN)):$$PATH" dvc status) || exit 1; \
	if printf '%s\n' "$$status" | grep -qE 'changed command|modified:|new:'; then printf '%s\n' "$$status"; \
	echo "dvc.lock is out of date: run make pipeline and commit dvc.lock"; exit 1; fi

pull: $(READY) ## fetch what dvc.lock names from the DVC remote REMOTE=gs://bucket/folder
	@if [ -z "$$REMOTE" ]; then echo "no REMOTE: the pipeline makes its data anew"; else \
		PATH="$(abspath $(BIN)):$$PATH" && dvc remote add --local -f -d shared "$$REMOTE" && dvc pull; fi

metrics-diff: $(READY) ## the pipeline's metrics beside those of origin/main, as Markdown in OUT=metrics.md
	PATH="$(abspath $(BIN)):$$PATH" dvc metrics diff --md origin/main > "$$OUT"

comment: ## put FILE=metrics.md under the pull request PULL_REQUEST of GitHub
	gh pr comment "$$PULL_REQUEST" --body-file "$$FILE"

# Values of a tag or of a workflow reach the shell as variables, never as its text.
deploy: $(READY) ## deploy the version that a tag as TAG=fraud#prod#3 names; IMAGE, REGION, KEY_SECRET, and as the service has them RECORDS, HASH_SECRET, METRICS_SECRET, SERVICE_ACCOUNT
	@stage="$${TAG#*\#}"; $(BIN)/python -m fraudlab.cloud action=deploy name="$${TAG%%\#*}" alias="$${stage%%\#*}" \
		image="$$IMAGE" region="$$REGION" service.key_secret="$$KEY_SECRET" \
		$${RECORDS:+"records=$$RECORDS"} $${HASH_SECRET:+"service.hash_secret=$$HASH_SECRET"} \
		$${METRICS_SECRET:+"service.metrics_secret=$$METRICS_SECRET"} \
		$${SERVICE_ACCOUNT:+"service.service_account=$$SERVICE_ACCOUNT"} $(ARGS)

dist: $(READY) ## source and wheel in dist/
	$(BIN)/python -m hatchling build

wheel: $(READY) ## in dist/ the wheel for Linux on x86-64, which carries TabNet's encoder compiled
	HATCH_BUILD_HOOK_ENABLE_CUSTOM=true $(BIN)/python -m hatchling build -t wheel

# For the Python of Debian 12, which the images have.
sbom: $(READY) ## what the images install, as CycloneDX in sbom/<image>.json
	@mkdir -p $(SBOM)
	@for image in serve train; do \
		extras=$$(sed -n 's/.*requirements.py \(.*\) > .*/\1/p' docker/$$image.dockerfile) && \
		{ test -n "$$extras" || { echo "no extras found in docker/$$image.dockerfile"; false; }; } && \
		$(BIN)/python docker/requirements.py $$extras > $(SBOM)/$$image.in && \
		$(BIN)/uv pip compile --quiet --no-header --no-annotate --generate-hashes --python-version 3.11.2 \
			--python-platform linux -c constraints.txt -o $(SBOM)/$$image.txt $(SBOM)/$$image.in && \
		$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible -o $(SBOM)/$$image.json \
			$(SBOM)/$$image.txt || exit 1; \
	done

load-test: $(READY) ## Locust's users against a server of its own, with a report; ARGS="--users 200 --seconds 60"
	@$(SOME_BUNDLE)
	$(BIN)/python -m benchmarks.load_test $(ARGS)

monitor: $(READY) ## the loop after deployment on simulated transactions: record, labels, drift, performance, alerts
	$(BIN)/python -m benchmarks.monitor $(ARGS)

results: $(READY) ## run every experiment of the README's table and LightGBM on its rows, five seeds each (an hour or two)
	$(BIN)/python -m benchmarks.results

wandb-sweep: $(READY) ## the search sweeps/$(SWEEP).yaml as a W&B sweep: make wandb-sweep SWEEP=mlp_handbook > sweep.yaml
	@$(BIN)/python -m fraudlab.sweep sweep=$(SWEEP) wandb=true

bench-tabnet: $(READY) ## speed and memory of TabNet against pytorch-tabnet; ARGS="--device cuda" for a GPU
	$(BIN)/python -m benchmarks.tabnet_train $(ARGS)
	$(BIN)/python -m benchmarks.tabnet_predict $(ARGS)
	$(BIN)/python -m benchmarks.tabnet_ops $(ARGS)

bench-prepare: $(READY) ## CSV files to arrays, against plain pandas; ARGS="--full --scale --huge" for whole sizes
	$(BIN)/python -m benchmarks.prepare $(ARGS)

lint: $(READY) ## ruff, codespell, import rules, workflows, the page's JavaScript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/jactionlint --shellcheck=
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	$(BIN)/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
	@$(MAKE) --no-print-directory lint-page

# No lock file: it would name the registry that made it. Versions in package.json are exact.
$(PAGE_TOOLS): tests/page/package.json
	cd tests/page && npm install --no-package-lock --no-audit --no-fund --loglevel=error
	@touch $@

lint-page: ## ESLint and TypeScript's checks over the web page's JavaScript
	@if command -v npm >/dev/null && node -e 'process.exit(Number(process.versions.node.split(".")[0] < 20))'; then \
		$(MAKE) --no-print-directory $(PAGE_TOOLS) && \
		node tests/page/node_modules/eslint/bin/eslint.js --config tests/page/eslint.config.js fraudlab/serving/page && \
		node tests/page/node_modules/typescript/bin/tsc -p tests/page/tsconfig.json; \
	else echo "not checked: the JavaScript of fraudlab/serving/page, since npm, or Node 20 or later, is not here (apt-get install nodejs npm)"; fi

docs: $(READY) ## the site in site/; broken links fail it
	$(BIN)/python docs/pictures.py
	$(BIN)/python docs/diagrams.py
	$(BIN)/python docs/generate.py
	$(BIN)/zensical build --strict

notebooks: $(READY) ## run the notebooks and write their pages into docs/notebooks; ARGS=01_first_model for one
	$(BIN)/python notebooks/build.py $(ARGS)

format: $(READY) ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: $(READY) ## mypy
	$(BIN)/mypy

check-conf: $(READY) ## compose, type and build every YAML in conf/
	$(BIN)/python -m pytest tests/test_conf.py

clean: ## remove caches of tools
	rm -rf tests/page/node_modules
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov
	find fraudlab tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv too; data/ and outputs/ stay
	rm -rf $(VENV) .venv-smoke .venv-oldest
