# sarjepa: `make help` lists what can be made.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DATA   ?= data
# Where archives obtained by hand lie; only the benchmarks and the job on real chips need them.
ARCHIVES ?= archives
DEMO   := runs/demo
comma  := ,

# The paper's tables and figures, and the size of their runs: demo, laptop or paper.
TABLES := table1 table3 table4 table5 table6 ratio-pixel figure4 figure5 figure6 figure7 views views-apart views-at-once views-scaling label-spreading transfer speckle saracd-splits \
  augmentations augmentations-tuned fine-tuned fine-tuned-published fine-tuning-steps
SCALE  ?= laptop
# Sets to pre-train on (comma-separated), weights of the imagenet row, commands at a time, and what starts pre-training
# on several GPUs.
SOURCES ?=
IMAGENET ?=
JOBS   ?= $(if $(filter paper,$(SCALE)),1,2)
LAUNCH ?=

.PHONY: help demo demo-seeds test fuzz test-gpu smoke laptop tables $(TABLES) docs lint format bench bench-ratio gpu-day edge-maps headline clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

# The install is redone when what it installs is described differently.
$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[test,lint]'
	@touch $@

demo: $(VENV)/.installed  ## simulated chips -> pre-training -> few-shot table -> attention pictures, some minutes
	$(BIN)/sarjepa build-dataset --preset demo-views --data-root $(DATA)
	rm -rf $(DEMO) results/demo
	$(BIN)/sarjepa pretrain --preset demo-views --data-root $(DATA) --run-dir $(DEMO)
	$(BIN)/sarjepa fewshot-bench --preset demo-views --data-root $(DATA) --checkpoint $(DEMO) --checkpoint random:$(DEMO) \
	  --checkpoint pixels --out results/demo
	$(BIN)/sarjepa visualize-attention --preset demo-views --data-root $(DATA) --checkpoint $(DEMO)
	$(BIN)/sarjepa report --run $(DEMO) --data-root $(DATA)
	@echo "table: results/demo/table.md   pictures: $(DEMO)/*.png   all of it: $(DEMO)/report.html"

demo-seeds: $(VENV)/.installed  ## what the demo shows, with five pre-trainings and every classifier without a network
	$(BIN)/sarjepa build-dataset --preset demo-views --data-root $(DATA)
	$(BIN)/sarjepa reproduce --experiment demo-seeds --scale demo --data-root $(DATA) --jobs $(JOBS)

test: $(VENV)/.installed  ## the test suite; tests of real chips run where SARJEPA_SHARED (or ../shared) holds them
	$(BIN)/python -m pytest -n auto --dist worksteal

FUZZ ?= 1000
fuzz: $(VENV)/.installed  ## FUZZ damaged files for every reader, every kill point, every wrong call; an hour or two
	SARJEPA_FUZZ=$(FUZZ) $(BIN)/python -m pytest tests/test_fuzz.py tests/test_wrong_calls.py tests/recipes/test_kill_points.py

test-gpu: $(VENV)/.installed  ## only the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu

GIVEN  := $(if $(wildcard $(ARCHIVES)),--archives $(ARCHIVES))
LAPTOP := runs/sar-jepa-vit-laptop-mstar-saracd
VIEWS  := runs/views-vit-laptop-mstar-saracd

laptop: $(VENV)/.installed  ## the README's main job: MSTAR and SAR-ACD, a quarter of an hour to one; ARCHIVES where at hand
	$(BIN)/sarjepa build-dataset --sources mstar,saracd --data-root $(DATA) $(GIVEN)
	$(BIN)/sarjepa pretrain --preset laptop --data-root $(DATA) $(if $(wildcard $(LAPTOP)/checkpoint-last.pt),--resume)
	$(BIN)/sarjepa pretrain --preset laptop-views --data-root $(DATA) --init $(LAPTOP) \
	  $(if $(wildcard $(VIEWS)/checkpoint-last.pt),--resume)
	$(BIN)/sarjepa fewshot-bench --preset laptop-views --data-root $(DATA) --recipe augmented --solver lda,label-spreading \
	  --datasets mstar,saracd --checkpoint $(VIEWS) --checkpoint random:$(VIEWS) --out results/laptop
	$(BIN)/sarjepa visualize-attention --preset laptop-views --data-root $(DATA) --checkpoint $(VIEWS)
	$(BIN)/sarjepa report --run $(VIEWS) --data-root $(DATA)

# What has yet to be built; the paper's sets are not fetched unasked.
WANTED := $(subst $(comma), ,$(or $(SOURCES),$(if $(filter demo,$(SCALE)),synthetic,mstar saracd)))
UNBUILT = $(if $(filter paper,$(SCALE)),,$(filter-out $(notdir $(wildcard $(DATA)/shards/*)),$(WANTED)))
REPRODUCE := $(BIN)/sarjepa reproduce --scale $(SCALE) --data-root $(DATA) --jobs $(JOBS) \
  $(if $(SOURCES),--sources $(SOURCES)) $(if $(IMAGENET),--imagenet $(IMAGENET)) \
  $(if $(LAUNCH),--launch "$(LAUNCH)")

tables: $(TABLES)  ## table1, table3-6, figure4-7 of the paper and the tables of views, each by its own name too; SCALE=laptop|paper|demo
$(TABLES): $(VENV)/.installed
	$(foreach set,$(UNBUILT),$(BIN)/sarjepa build-dataset --sources $(set) --data-root $(DATA) $(GIVEN) &&) \
	$(REPRODUCE) --experiment $@

smoke: $(VENV)/.installed  ## the main job on real chips at a size that ends in 3 minutes; ARCHIVES names their folder
	$(BIN)/python tests/smoke_real_chips.py --archives $(ARCHIVES)

bench: bench-ratio  ## every benchmark, one after the other; nothing else should run meanwhile
	$(BIN)/python benchmarks/pretrain_step.py
	$(BIN)/python benchmarks/fewshot.py --data-root $(DATA)
	$(BIN)/python benchmarks/shards.py --archives $(ARCHIVES)
	$(BIN)/python benchmarks/build_dataset.py --archives $(ARCHIVES)
	$(BIN)/python benchmarks/build_memory.py --archives $(ARCHIVES)

bench-ratio: $(VENV)/.installed  ## the gradient by ratio on each of its paths
	$(BIN)/python benchmarks/ratio.py

HOURS ?= 12
gpu-day: $(VENV)/.installed  ## on a machine with a GPU: its tests and benchmarks, HOURS of pre-training, both few-shot tables
	$(BIN)/python benchmarks/gpu_day.py --data-root $(DATA) --hours $(HOURS)

edge-maps: $(VENV)/.installed  ## the README's picture of ratio edges beside Sobel's
	$(BIN)/python benchmarks/edge_maps.py

headline: $(VENV)/.installed  ## the README's first picture, from the committed few-shot table
	$(BIN)/python benchmarks/headline.py

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

docs: $(VENV)/.installed-docs  ## the documentation as a site in site/, its notebooks executed; a broken link stops it
	PYTHONPATH=docs/notebooks NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: $(VENV)/.installed  ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed  ## let ruff order imports and lines
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove build products and caches; data/, runs/ and results/ stay
	rm -rf build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
