#!/bin/sh
# The two commands of the README, on a machine with nothing but git and a Rust toolchain:
#
#   sh deploy/bootstrap.sh demo     a local swarm: one master, two workers, containers that talk; Ctrl-C stops it
#   sh deploy/bootstrap.sh test     everything that must hold, the way CI runs it
#
# and `bench` (measures the delivery path against a bare copy, rsyslog and syslog-ng), `build` (the release programs),
# `ci` (the checks of `test`, installing nothing), `deps` (installs, checks nothing).
# It installs missing Debian or Ubuntu packages, says which, and asks nothing. Arguments after the command go on to it.
set -eu

cd "$(dirname "$0")/.."
root=$(pwd)
PATH="$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin:$root/target/tools/bin"
cargo_deny=0.20.2
dockerd_pid=

say() { printf '==> %s\n' "$*" >&2; }
fail() {
    printf 'bootstrap: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }
usage() {
    sed -n '2,9s/^# \{0,1\}//p' "$root/deploy/bootstrap.sh" >&2
    exit 2
}

# --- what is missing -------------------------------------------------------------------------------------------------

# Packages to build with: without them nothing goes on.
build_packages() {
    have cc || echo gcc
    # The decoy is linked statically, so that it is an image's only file.
    [ -n "$(cc -print-file-name=libc.a 2>/dev/null | grep / || true)" ] || echo libc6-dev
}

# Packages of the tests' daemons and peers: without them tests are skipped, and CI fails.
test_packages() {
    have dockerd || have docker || echo docker.io
    # Newer Debian has the client in a package of its own.
    have docker || echo docker-cli?
    have iptables || echo iptables
    have rsyslogd || echo rsyslog
    rsyslog_driver ossl || echo rsyslog-openssl
    rsyslog_driver gtls || echo rsyslog-gnutls
    have openssl || echo openssl
    python3 -c 'import ensurepip, venv' >/dev/null 2>&1 || echo python3-venv
    have ip || echo iproute2
    have logrotate || echo logrotate
    have zstd || echo zstd
    # A small file system of its own is how a test fills a disk.
    have mkfs.ext4 || echo e2fsprogs
    have mount || echo mount
    have systemd-analyze || echo systemd
}

rsyslog_driver() {
    for dir in /usr/lib/*/rsyslog /usr/lib/rsyslog /usr/lib64/rsyslog; do
        [ ! -e "$dir/lmnsd_$1.so" ] || return 0
    done
    return 1
}

# Runs a command as root: as we are, or by a sudo that does not ask.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif have sudo && sudo -n true 2>/dev/null; then
        sudo -n "$@"
    else
        return 1
    fi
}

# Installs packages; false if it can't, after saying what the user must run.
install_packages() {
    [ $# -gt 0 ] || return 0
    if ! have apt-get; then
        say "missing: $* (names of Debian packages); this system has no apt-get, install what they hold by hand"
        return 1
    fi
    ! as_root true || as_root apt-get update -q || true
    packages=
    for package in "$@"; do
        # A name with ? is for the systems that have it.
        case $package in
        *\?) apt-cache show "${package%?}" >/dev/null 2>&1 || continue ;;
        esac
        packages="$packages ${package%\?}"
    done
    # shellcheck disable=SC2086
    if as_root true && say "installing with apt-get:$packages" && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages; then
        return 0
    fi
    say "could not install. Run as root:  apt-get update && apt-get install -y$packages"
    return 1
}

need_rust() {
    have cargo || fail "no cargo: install Rust from https://rustup.rs (1.95 or newer), then run this again"
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
        fail "Rust $found is too old: $wanted or newer is needed (rustup update stable)"
}

need_build() {
    need_rust
    # Package names hold no blanks.
    # shellcheck disable=SC2046
    install_packages $(build_packages) || fail "can't build without them"
}

need_rust_tools() {
    for tool in fmt clippy; do
        cargo $tool --version >/dev/null 2>&1 && continue
        component=$tool
        [ $tool = clippy ] || component=rustfmt
        have rustup || fail "no cargo $tool: install the Rust component $component"
        say "installing the Rust component $component"
        rustup component add $component
    done
}

# For the check of licences and sources; a few minutes, once, and nothing outside target/ changes.
need_deny() {
    ! have cargo-deny || return 0
    say "building cargo-deny into target/tools"
    cargo install cargo-deny --version "$cargo_deny" --locked --quiet --root target/tools --target-dir target/tools/build ||
        say "could not: licences are not checked"
    rm -rf target/tools/build
}

# --- what the tests talk to ------------------------------------------------------------------------------------------

need_peers() {
    # shellcheck disable=SC2046
    with_quiet_rsyslog install_packages $(test_packages) ||
        say "going on without: tests that need them are skipped (and fail when CI=true)"
    need_decnet
    need_docker
}

# Runs an installation, and stops the rsyslog service if it brought one.
with_quiet_rsyslog() {
    had_rsyslog=$(have rsyslogd && echo yes || echo no)
    "$@" || return 1
    if [ "$had_rsyslog" = no ] && have rsyslogd && [ -d /run/systemd/system ]; then
        say "stopping and disabling the rsyslog service that came with the package: the tests run their own"
        as_root systemctl disable --now rsyslog.service syslog.socket >/dev/null 2>&1 || true
    fi
}

# Packages of the bench's peers that are installed.
bench_packages() {
    have rsyslogd || echo rsyslog
    rsyslog_driver ossl || echo rsyslog-openssl
}

# The bench's peers. syslog-ng's package and rsyslog's exclude each other: it is unpacked below target/, with the
# libraries that it needs and the system lacks.
need_bench_peers() {
    # shellcheck disable=SC2046
    with_quiet_rsyslog install_packages $(bench_packages) || say "going on without rsyslog"
    { [ ! -x target/syslog-ng/usr/sbin/syslog-ng ] && [ ! -x /usr/sbin/syslog-ng ]; } || return 0
    if ! have apt-get; then
        say "no apt-get to fetch syslog-ng with: going on without"
        return 0
    fi
    say "unpacking syslog-ng into target/syslog-ng"
    ! as_root true || as_root apt-get update -q || true
    rm -rf target/syslog-ng
    mkdir -p target/syslog-ng/packages
    wanted=syslog-ng-core
    for library in $(apt-cache depends -i syslog-ng-core | sed -n 's/^ *|\{0,1\}Depends: \(lib[^ ]*\)$/\1/p'); do
        dpkg -s "$library" >/dev/null 2>&1 || wanted="$wanted $library"
    done
    # Package names hold no blanks.
    # shellcheck disable=SC2086
    if (cd target/syslog-ng/packages && apt-get download -q $wanted); then
        for package in target/syslog-ng/packages/*.deb; do
            dpkg -x "$package" target/syslog-ng
        done
    else
        say "could not: going on without"
    fi
    rm -rf target/syslog-ng/packages
}

# DECNET's own forwarder and listener, as a peer, in a virtual environment of its own.
need_decnet() {
    python="$root/target/decnet/bin/python"
    if [ -x "$python" ] && "$python" -c 'import greenlet, decnet.swarm.log_listener' >/dev/null 2>&1; then
        return
    fi
    say "installing decnet 1.0.0 from PyPI into target/decnet"
    mkdir -p target
    # With the database libraries of its lock file: its ingester does not work with newer ones.
    if python3 -m venv --clear target/decnet && "$python" -m pip install --quiet --disable-pip-version-check \
        decnet==1.0.0 sqlmodel==0.0.38 'sqlalchemy[asyncio]>=2,<2.1'; then
        return
    fi
    rm -rf target/decnet
    say "could not: tests against it are skipped"
}

need_docker() {
    ! docker_answers || return 0
    if [ -S /var/run/docker.sock ] && [ "$(id -u)" != 0 ]; then
        say "Docker may run, but not answer $(id -un). Run as root:  usermod -aG docker $(id -un)  and log in again"
    fi
    have dockerd || return 0
    if [ -d /run/systemd/system ] && as_root true; then
        say "starting the docker service"
        as_root systemctl start docker || true
    elif [ "$(id -u)" = 0 ]; then
        say "starting dockerd (messages in target/dockerd.log); it is stopped at the end"
        mkdir -p target
        dockerd >target/dockerd.log 2>&1 &
        dockerd_pid=$!
        trap stop_docker EXIT
        trap 'exit 130' INT
        trap 'exit 143' TERM
    else
        say "Docker does not run, and only root can start it: tests that need it are skipped"
        return 0
    fi
    tries=60
    until docker_answers; do
        tries=$((tries - 1))
        if [ $tries = 0 ] || { [ -n "$dockerd_pid" ] && ! kill -0 "$dockerd_pid" 2>/dev/null; }; then
            say "Docker does not answer: tests that need it are skipped"
            return 0
        fi
        sleep 1
    done
}

docker_answers() { have docker && docker info --format '{{.ServerVersion}}' >/dev/null 2>&1; }

stop_docker() {
    [ -n "$dockerd_pid" ] || return 0
    kill "$dockerd_pid" 2>/dev/null || true
    wait "$dockerd_pid" 2>/dev/null || true
    dockerd_pid=
}

# --- commands --------------------------------------------------------------------------------------------------------

# Runs one named check; ends everything when it fails.
step() {
    name=$1
    shift
    say "$name"
    "$@" || fail "FAILED: $name  ($*)"
}

checks() {
    LOGFERRY_SKIPS="$root/target/skips.txt"
    export LOGFERRY_SKIPS
    mkdir -p target
    : >"$LOGFERRY_SKIPS"
    step format cargo fmt --all --check
    step lints cargo clippy --locked --workspace --all-targets -- -D warnings
    step tests cargo test --locked --workspace "$@"
    step documentation env RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
    step units sh deploy/check-units.sh
    if have cargo-deny; then
        step licences cargo-deny --log-level error check bans licenses sources
    else
        say "SKIPPED licences: cargo-deny is missing (cargo install cargo-deny --locked)"
        echo "licences: cargo-deny is missing" >>"$LOGFERRY_SKIPS"
    fi
    skipped=$(wc -l <"$LOGFERRY_SKIPS" | tr -d ' ')
    if [ "$skipped" != 0 ]; then
        say "$skipped SKIPPED:"
        sed 's/^/      /' "$LOGFERRY_SKIPS" >&2
        [ "${CI:-}" != true ] || fail "FAILED: CI skips nothing"
    fi
    say "all checks passed, $skipped skipped"
}

# Builds what the demo starts into one folder: the programs, and the decoy linked statically, so that it is an image's
# only file. Left to the swarm they would be built with the features it needs itself, which takes as long again.
gather_programs() {
    target=${CARGO_TARGET_DIR:-$root/target}
    host=$(rustc -vV | sed -n 's/^host: //p')
    cargo build --locked --release -p collector -p forwarder -p listener -p swarm
    RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release -p decoy --target "$host"
    mkdir -p "$target/demo"
    cp -f "$target/release/logferry-collector" "$target/release/logferry-forwarder" \
        "$target/release/logferry-listener" "$target/$host/release/logferry-decoy" "$target/demo/"
    LOGFERRY_BIN_DIR="$target/demo"
    export LOGFERRY_BIN_DIR
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
demo)
    need_build
    say "building"
    gather_programs
    say "starting the local swarm; Ctrl-C stops it"
    exec cargo run --locked --quiet --release -p swarm -- demo "$@"
    ;;
bench)
    need_build >&2
    need_bench_peers >&2
    say "building"
    cargo build --locked --release -p forwarder -p listener -p bench
    LOGFERRY_BIN_DIR="${CARGO_TARGET_DIR:-$root/target}/release"
    export LOGFERRY_BIN_DIR
    exec "$LOGFERRY_BIN_DIR/logferry-bench" "$@"
    ;;
build)
    need_build
    cargo build --locked --release -p audit-proxy -p collector -p forwarder -p listener -p scanner "$@"
    say "built: target/release/logferry-audit-proxy, logferry-collector, logferry-forwarder, logferry-listener," \
        "logferry-scanner"
    ;;
deps)
    need_build
    need_rust_tools
    need_deny
    need_peers
    ;;
test)
    need_build
    need_rust_tools
    need_deny
    need_peers
    checks "$@"
    ;;
ci)
    need_rust
    checks "$@"
    ;;
*) usage ;;
esac
