#!/bin/sh
# Verifies the systemd units and their sandboxing: `systemd-analyze verify` without a word, and an exposure of at most
# 2.0 (collector: 5.0, for Docker's socket and files). Run from anywhere; needs no running systemd.
set -eu
cd "$(dirname "$0")"

if ! command -v systemd-analyze >/dev/null 2>&1; then
    if [ "${CI:-}" = true ]; then
        echo "check-units: systemd-analyze is missing; CI skips nothing" >&2
        exit 1
    fi
    echo "SKIPPED check-units: systemd-analyze is missing (package systemd)" >&2
    [ -z "${LOGFERRY_SKIPS:-}" ] || echo "check-units: systemd-analyze is missing" >>"$LOGFERRY_SKIPS"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
# Sockets are verified beside the service that they start.
cp systemd/*.socket "$work"
for unit in systemd/*.service; do
    name=$(basename "$unit")
    program=$(sed -n 's|^ExecStart=\([^ ]*\) .*|\1|p' "$unit")
    copy="$work/$name"
    # The verdict is about the unit, not about whether its program is installed here.
    if [ -x "$program" ]; then
        cp "$unit" "$copy"
    else
        sed "s|^ExecStart=$program |ExecStart=/bin/true |" "$unit" >"$copy"
    fi
    if ! said=$(systemd-analyze verify "$copy" 2>&1) || [ -n "$said" ]; then
        echo "check-units: $name: ${said:-systemd-analyze verify failed}" >&2
        failed=1
    fi
    limit=20
    [ "$name" = logferry-collector.service ] && limit=50
    # The threshold is the score times ten; above it the command fails.
    if said=$(systemd-analyze security --offline=true --threshold=$limit --no-pager "$copy" 2>&1); then
        echo "check-units: $name: $(echo "$said" | sed -n 's/^.*Overall exposure level[^:]*: *\([0-9.]*\).*/exposure \1/p')"
    else
        echo "$said" >&2
        echo "check-units: $name: exposure over $((limit / 10)).0" >&2
        failed=1
    fi
done
for unit in systemd/*.socket; do
    name=$(basename "$unit")
    if ! said=$(systemd-analyze verify "$work/$name" 2>&1) || [ -n "$said" ]; then
        echo "check-units: $name: ${said:-systemd-analyze verify failed}" >&2
        failed=1
    fi
done
exit $failed
