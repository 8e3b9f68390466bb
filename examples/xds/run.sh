#!/usr/bin/env bash
# Applies routes, changes them, is refused, goes back and attaches a hook, while requests come.
set -euo pipefail
cd "$(dirname "$0")"
export ENVOKE_URL=${ENVOKE_URL:-http://127.0.0.1:9000}
envoke=${ENVOKE:-../../bin/envoke}

folder=$(mktemp -d)
asking=
empty='routes: []'
stop() {
	[ -z "$asking" ] || { kill "$asking" 2>/dev/null && wait "$asking" || true; }
	echo "$empty" >"$folder/before.yaml"
	"$envoke" config apply "$folder/before.yaml" >/dev/null 2>&1 || true
	for function in blue green doorman; do "$envoke" delete "nodejs-$function" --yes >/dev/null 2>&1 || true; done
	rm -rf "$folder"
}
trap stop EXIT

register() { # title, code
	curl -sS -o /dev/null -f "$ENVOKE_URL/api/v1/functions" \
		-d "{\"language\":\"nodejs\",\"title\":\"$1\",\"script_content\":\"$2\"}"
}
colour() { curl -sS -o "$folder/body" -w '%{http_code} ' "$ENVOKE_URL/colour" "$@" && cat "$folder/body"; }
is() { # wanted, arguments of curl
	for _ in $(seq 100); do
		[ "$(colour "${@:2}")" != "$1" ] || { echo "/colour: $1"; return; }
		sleep 0.1
	done
	echo "/colour is $(colour "${@:2}"), not $1" >&2
	exit 1
}
# apply prints which version is live now.
apply() { "$envoke" config apply "$1" 2>&1 >/dev/null | tee /dev/stderr | sed -n 's/^version \([0-9]*\) is live$/\1/p'; }

register blue "return 'blue'"
register green "return 'green'"
register doorman "return event.params.headers['x-name'] ? null : {statusCode: 403, body: 'who are you?'}"

echo "== a route to a function"
first=$(apply blue.yaml)
is '200 "blue"'

# From here on somebody asks all the time, and must get one of the two.
(
	trap 'exit 0' TERM
	while :; do
		code=$(curl -s -o /dev/null -w '%{http_code}' -H 'X-Name: somebody' "$ENVOKE_URL/colour" || true)
		echo "$code" >>"$folder/answers"
	done
) &
asking=$!

echo "== another weight"
"$envoke" config diff green.yaml || true
second=$(apply green.yaml)
is '200 "green"'

echo "== a faulty file"
if "$envoke" config apply faulty.yaml 2>"$folder/refused"; then
	echo "a faulty file is taken" >&2
	exit 1
fi
cat "$folder/refused"
grep -q 'wieght' "$folder/refused" && grep -q '6' "$folder/refused"
is '200 "green"'

echo "== back to version $first, from $second"
"$envoke" config rollback "$first" >/dev/null
is '200 "blue"'

echo "== a hook"
apply hook.yaml >/dev/null
is '403 who are you?'
is '200 "blue"' -H 'X-Name: Ada'

kill "$asking" && wait "$asking" || true
asking=
echo "$(wc -l <"$folder/answers") requests meanwhile, $(grep -vc '^200$' "$folder/answers" || true) of them not answered"
! grep -v '^200$' "$folder/answers"
