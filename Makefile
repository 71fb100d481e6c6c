# Set-up and chores. `make run` and `make test` do all the set-up they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help setup run test check bench soak mutation bundle docs clean

help:  ## what there is
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup:  ## make .venv, install, build the ROS interfaces (nothing to do: a second)
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh tools/setup.sh

run: setup  ## the main job: bring the stack up, visit five goals, write runs/latest
	@$(BIN)/taustack run panda $(ARGS)

# What starts the ROS graph wants the machine for itself; the rest takes all cores. ARGS: these tests only. UNTIL: CI's, see .ci/run.
UNTIL ?= inf
GRAPH_TESTS := tests/test_launching.py tests/ros tests/faults tests
test: setup  ## all tests, with the real ROS graph
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else
	@$(BIN)/python -m pytest -m "not ros and not soak" -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 15 --cov=controllers --cov-report= ; first=$$?; \
	$(BIN)/python -m pytest -m "ros and not soak" --until $(UNTIL) $(GRAPH_TESTS) --durations 15 --cov=controllers --cov-append --cov-report=term-missing:skip-covered --cov-fail-under=90 && exit $$first
endif

check: setup  ## format, lint, types, import rules
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/lint-imports

bench: setup  ## plan step against pytorch_mppi and the bare matrix products
	@$(BIN)/taustack bench plan

soak: setup  ## half an hour of the whole graph, a large fault campaign, a hundred restarts, the longest tests (an hour)
	@$(BIN)/python bench/soak.py --minutes 30 --json runs/soak.json
	@$(BIN)/taustack bench faults --campaign 500 --seed 1 --json runs/faults.json
	@$(BIN)/python bench/restarts.py --times 100
	@$(BIN)/python -m pytest -m soak -n auto --maxprocesses 4

mutation: setup  ## how many mutants of filter and state table the tests kill (minutes)
	@$(BIN)/python tools/mutation.py

bundle: setup  ## rebuild robots/panda/bundle and bundle_lag from nothing (minutes)
	@$(BIN)/taustack train bundle panda --out robots/panda/bundle
	@$(BIN)/taustack train bundle panda --scenario lag --out robots/panda/bundle_lag
	@$(BIN)/taustack train tdm panda --goal-space joint_positions --learner ddpg --steps 4000 --evaluate-every 2000 --final-rates 0.1 --out data/panda_tdm
	@$(BIN)/taustack models join robots/panda/bundle data/panda_tdm --out robots/panda/bundle

docs: setup  ## regenerate docs/reference from the code
	@$(BIN)/python tools/make_reference.py

clean:  ## remove what setup and runs made
	rm -rf $(VENV) ros2_ws/build ros2_ws/install ros2_ws/log ros2_ws/build.log runs data
