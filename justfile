# `just` lists the recipes. CI runs `.ci/run`, and nothing else.

_default:
    @just --list

# What CI runs: style, formatting, lints, docs, benchmarks once each, tests
check:
    .ci/run

# All tests; with an argument those whose name contains it
test *filter:
    cargo test --workspace {{ filter }}

# Formatting and lints, as CI demands them
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# The reference, without warnings
docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features

# Measures; docs/benchmarks.md says how to read it. `just bench commit` measures one group
bench *filter:
    cargo bench -p aft-benches --bench aft -- {{ filter }}

# The demo, on a temporary directory
demo *options:
    cargo run --release -p aft-cli -- demo {{ options }}

# Feeds random bytes to a decoder; needs a nightly toolchain and cargo-fuzz. `just fuzz decode 600` for ten minutes
fuzz target="decode" seconds="60":
    cargo +nightly fuzz run {{ target }} -- -max_total_time={{ seconds }}
