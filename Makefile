# The commands of the README. CARGO_FLAGS goes to every cargo call.
CARGO ?= cargo
TESTS_AT_ONCE ?= 2

.PHONY: help run build test test-units test-clients test-rules chaos-sim chaos fuzz lint fmt bench image image-test e2e e2e-smoke docs clean

help: ## Show the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 22

run: ## Build and start a broker on localhost:9092, its data in ./milena-data
	$(CARGO) build --release -p milena
	./target/release/milena serve

build: ## Build everything
	$(CARGO) build --workspace --all-targets

test: test-units test-clients test-rules fuzz ## Install what the tests need, and run all of them

test-units: ## Tests that need nothing but cargo
	$(CARGO) test --workspace --exclude e2e
	$(CARGO) test -p e2e --test tidy
	$(CARGO) test -p milena --features simulation --test simulation -- --seeds 50 --rules --jobs $(TESTS_AT_ONCE)

test-clients: ## Real clients and tools against a real broker
	$(CARGO) build -p milena
	./e2e/clients/install.sh || [ $$? -eq 3 ] # 3: a runtime is missing; its suite is skipped and named below
	./e2e/clients/install.sh prometheus || [ $$? -eq 3 ]
	$(CARGO) test -p e2e -- --test-threads=$(TESTS_AT_ONCE)
	./e2e/clients/skipped.sh

test-rules: ## What the resources refuse and what is applied, on a real API server, where there are kind and docker
	@if command -v kind > /dev/null && docker info > /dev/null 2>&1; then ./e2e/kube/run.sh crd_rules; \
	else echo 'SKIPPED crd_rules, applying: there are no kind and docker to make a Kubernetes cluster with' >&2; fi

chaos: chaos-sim ## Simulate 200 clusters, then repeat each fault of a real one under load ROUNDS times (30) on BROKERS ("3 5"); hours
	./e2e/chaos/run.sh

chaos-sim: ## Simulate whole clusters under faults, SEEDS of them (200) from FIRST (1) on; see docs/reliability.md
	$(CARGO) test --profile simulation -p milena --features simulation --test simulation -- \
		--seeds $(or $(SEEDS),200) --first $(or $(FIRST),1) --jobs $(TESTS_AT_ONCE)

fuzz: ## Fuzz the frame and batch decoders for FUZZ_SECONDS each
	./broker/protocol/fuzz/run.sh $(or $(FUZZ_SECONDS),60)

lint: ## Formatting, clippy with warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy -p milena --features simulation --lib --test simulation -- -D warnings

fmt: ## Format the code
	$(CARGO) fmt --all

bench: ## Compare with Apache Kafka and a floor; writes docs/benchmarks.md
	./e2e/bench/run.sh

image: ## Build the container images milena:dev and milena-operator:dev
	./image.sh

image-test: image ## Build the images, and use the broker's as people do: docker run and compose, clients outside and inside
	./e2e/clients/install.sh kcat
	./e2e/clients/install.sh compose || [ $$? -eq 3 ] # 3: it is not there; what it would show is said to be skipped
	./e2e/image/run.sh

e2e: ## Every promise on Kubernetes: a cluster of kind, both images, the tests, and all of it gone again
	./e2e/clients/install.sh ledger-librdkafka
	./e2e/clients/install.sh prometheus || [ $$? -eq 3 ]
	./e2e/kube/run.sh

e2e-smoke: ## The first of them: install, clients, a roll, a killed broker, deletion
	./e2e/clients/install.sh ledger-librdkafka
	./e2e/kube/run.sh kube_smoke

docs: ## Write the generated pages of docs/ anew
	$(CARGO) build -p milena
	$(CARGO) run -q -p milena -- config reference -o markdown > docs/configuration.md
	$(CARGO) run -q -p milena -- config metrics > docs/metrics.md
	UPDATE_DOCS=1 $(CARGO) test -p milena --lib docs

clean: ## Remove what was built and installed here
	$(CARGO) clean
