#!/usr/bin/env bash
# Deploys resize.js and calls it as a web page would.
set -euo pipefail
cd "$(dirname "$0")"
export ENVOKE_URL=${ENVOKE_URL:-http://127.0.0.1:9000}
envoke=${ENVOKE:-../../bin/envoke}

"$envoke" deploy resize.js
trap '"$envoke" delete nodejs-resize --yes' EXIT

reply=$(curl -sS --fail-with-body "$ENVOKE_URL/function/nodejs-resize?width=4000&height=3000&box=800")
echo "$reply"
[ "$reply" = '{"width":800,"height":600}' ]

status=$(curl -sS -o /dev/null -w '%{http_code}' "$ENVOKE_URL/function/nodejs-resize?width=wide")
echo "a bad width is $status"
[ "$status" = 422 ]
