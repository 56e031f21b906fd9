#!/bin/sh
# Checks everything in this directory without a container engine, and fails if
# anything is wrong. Needs Go, and for the alert rules promtool, which it
# installs where it may (apt, as root).
set -eu
cd "$(dirname "$0")"

failed=0
run() { # run NAME COMMAND...
	name=$1
	shift
	echo "== $name: $*"
	if "$@"; then
		echo "   ok"
	else
		echo "   FAILED: $name"
		failed=1
	fi
}

# run_optional is run for a tool that is nice to have.
run_optional() {
	if command -v "$2" >/dev/null 2>&1; then
		run "$@"
	else
		echo "== $1: $2 is not installed, skipped"
	fi
}

if ! command -v promtool >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	echo "== promtool is missing: installing Debian's prometheus package"
	apt-get update -qq || true
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null || true
fi
if ! command -v promtool >/dev/null 2>&1; then
	echo "   FAILED: promtool is missing and could not be installed (apt-get install prometheus)"
	failed=1
else
	run "prometheus configuration" promtool check config prometheus/prometheus.yml
	run "alert rules" promtool check rules prometheus/alerts.yml
	run "alert rules fire and do not fire" promtool test rules prometheus/alerts_test.yml
fi

run "Dockerfile, dashboard, alerts, runbook, example, health probe" go test -count=1 ./...
run "metrics and METRICS.md" go test -count=1 ../processor/metrics
run "Compose file and every PromQL expression" go -C tools test -count=1 ./...
run_optional "YAML" yamllint -d "{extends: relaxed, rules: {line-length: disable}}" -s prometheus docker-compose.yml grafana/provisioning example
run_optional "shell" shellcheck check.sh

if [ "$failed" = 0 ]; then
	echo "deployments: all checks passed (by parsers and unit tests; no container was run)"
else
	echo "deployments: some checks FAILED"
fi
exit "$failed"
