# `just` lists the recipes. CI runs `.ci/run`, and nothing else.

_default:
    @just --list

# What CI runs: style, formatting, lints, docs, benchmarks once each, tests
check:
    .ci/run

# All tests; with an argument those whose name contains it
test *filter:
    cargo test --workspace {{ filter }}

# The S3 suite against a new server of this kind (rgw, rgw-memstore, seaweedfs), which is installed where it is not there
s3 server="seaweedfs" *filter:
    tests/servers/server.sh install {{ server }}
    tests/servers/server.sh run {{ server }} cargo test -p aft-tests --test s3 {{ filter }}

# Formatting and lints, as CI demands them
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# The reference, without warnings
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features

# Writes the list of public names that CI compares with
public-api:
    .ci/run public-names > docs/public-api.txt

# Measures; docs/benchmarks.md says how to read it. `just bench commit` measures one group
bench *filter:
    cargo bench -p aft-benches --bench aft -- {{ filter }}

# What the costs of a store become as it grows, up to 10^6 keys; `just scale --huge` to 10^7, which takes minutes and 3 GB of disk
scale *options:
    cargo run --release -p aft-benches --bin scale -- {{ options }}

# Overwrites 100,000 keys a hundred times while checkpoints and collections go on beside, and checks what the store weighs
soak *options:
    cargo run --release -p aft-tests --bin soak -- {{ options }}

# The demo, on a temporary directory
demo *options:
    cargo run --release -p aft-cli -- demo {{ options }}

# Feeds random bytes to a decoder (bundle, decision, feed, garbage, guard, manifest, marker, recent, request, run, token, text); needs a nightly toolchain and cargo-fuzz
[working-directory: "aft-core"]
fuzz target="decision" seconds="60":
    mkdir -p fuzz/corpus/{{ target }}
    cargo +nightly fuzz run -s none {{ target }} fuzz/corpus/{{ target }} fuzz/seeds/{{ target }} -- \
        -max_total_time={{ seconds }} -max_len=4096

# Plants bugs into a copy of the protocol, one at a time, and demands that its tests fail; `just mutants WORD` some of them
mutants *word:
    tests/mutants.sh {{ word }}
