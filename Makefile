# make demo | make test | make test-full | make cluster-test | make soak: each sets up what it needs in .venv and starts at
# once the next time.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
OUT ?= runs/demo
DATA ?= $(OUT)/gallery
# The engines change what they are loaded beside (vLLM: YAML's loader, torch's threads), so their tests run apart.
PYTEST = .venv/bin/python -m pytest -q --durations=12 --durations-min=10
MODEL = $(OUT)/models/a70
EXAMPLE = $(MODEL)/examples

.PHONY: demo test test-full lint unit quick-models slow-rest cluster-test soak format clean

demo: .venv/.local
	@test "$(DATA)" != "$(OUT)/gallery" || .venv/bin/python jobs/gallery.py "root=$(OUT)"
	@.venv/bin/python jobs/run.py "root=$(OUT)" "source.uri=$(DATA)"
	@echo "How alike is a painting to its version, and to another painting's version?"
	@.venv/bin/artsim compare "$(EXAMPLE)/painting.jpg" "$(EXAMPLE)/version.jpg" --model "$(MODEL)"
	@.venv/bin/artsim compare "$(EXAMPLE)/painting.jpg" "$(EXAMPLE)/other.jpg" --model "$(MODEL)"
	@echo "$(abspath $(MODEL)/report.html)"
	@echo "$(abspath $(MODEL))"

# Side by side what waits much and what computes; the service's limits in seconds want the machine to themselves.
test: .venv/.cpu
	@$(MAKE) --no-print-directory -j2 unit-a-m unit-n-z lint
	@$(MAKE) --no-print-directory -j3 quick-cluster-a-k quick-models quick-cluster-l-z
	$(PYTEST) -m "not slow" tests/serve

test-full: .venv/.cpu
	@$(MAKE) --no-print-directory -j2 slow-cluster-a-h slow-rest slow-cluster-i-z
	$(PYTEST) -m "slow" tests/serve

lint: .venv/.cpu
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy

unit: .venv/.cpu
	$(PYTEST) -m "not slow" tests/unit

unit-%: .venv/.cpu
	$(PYTEST) -m "not slow" tests/unit/test_[$*]*.py

quick-cluster-%: .venv/.cpu
	$(PYTEST) -m "not (slow or soak or hosts)" tests/cluster/test_[$*]*.py

slow-cluster-%: .venv/.cpu
	$(PYTEST) -m "slow" tests/cluster/test_[$*]*.py

quick-models: .venv/.cpu
	$(PYTEST) -m "not slow" tests/models

slow-rest: .venv/.cpu
	$(PYTEST) -m "slow" tests/unit
	$(PYTEST) -m "slow" tests/models

cluster-test: .venv/.cpu
	$(PYTEST) -s tests/cluster/test_hosts.py

soak: .venv/.cpu
	$(PYTEST) -s -m soak

format: .venv/.cpu
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

clean:
	rm -rf .venv runs .mypy_cache .ruff_cache .pytest_cache

# A stamp is renewed only when its lock or the project's own metadata change. The tests' lock holds the demo's.
.venv/.local .venv/.cpu: .venv/.%: cluster/requirements-%.txt pyproject.toml
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps -r $<
	.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps -e .
	.venv/bin/python -m pip install -q --disable-pip-version-check torch  # with CUDA's packages, where this build needs them
	@touch $@
