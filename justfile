# Short names for the commands of this repository. just is a comfort: nothing needs it.

# lists the recipes
default:
    @just --list

# a local swarm: one master, two workers, containers that talk; Ctrl-C stops it
demo *args:
    sh deploy/bootstrap.sh demo {{args}}

# everything that must hold, installing what it needs
test:
    sh deploy/bootstrap.sh test

# the checks of `test`, installing nothing; what CI runs
ci:
    sh deploy/bootstrap.sh ci

# a crate's tests with other drawn inputs than usual; a failure names its seed
explore crate seed=`od -An -N4 -tu4 /dev/urandom | tr -d ' '` cases="2000":
    PROPTEST_RNG_SEED={{seed}} PROPTEST_CASES={{cases}} cargo test -p {{crate}} || { echo "seed {{seed}}"; exit 1; }

# the end-to-end tests: real programs, daemons and peers
e2e *args:
    cargo test -p swarm {{args}}

# licences, sources and banned dependencies (cargo install cargo-deny --locked)
deny:
    cargo deny check bans licenses sources

# one fuzz target, for so many seconds (cargo install cargo-fuzz; needs a nightly toolchain)
fuzz target seconds="600":
    cargo +nightly fuzz run {{target}} -- -max_total_time={{seconds}}

# throughput and latency of the delivery path, in turns with a bare copy, rsyslog and syslog-ng
bench *args:
    sh deploy/bootstrap.sh bench {{args}}

# N kills of everything under load, drawn from SEED, and counting
torture n="100" *seed:
    cargo run --release -q -p swarm -- torture {{n}} {{seed}}
