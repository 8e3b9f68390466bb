#!/usr/bin/env bash
# Generates a Python client from the document that Envoke serves, and uses it.
set -euo pipefail
cd "$(dirname "$0")"
export ENVOKE_URL=${ENVOKE_URL:-http://127.0.0.1:9000}
version=0.29.1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Where the generator is: `make examples` keeps it in the cache.
generator=${OPENAPI_PYTHON_CLIENT:-}
if [ -z "$generator" ]; then
	generator=$work/generator
	python3 -m pip install --quiet --only-binary :all: --target "$generator" "openapi-python-client==$version"
fi
export PYTHONPATH=$generator:$work PATH=$generator/bin:$PATH PYTHONDONTWRITEBYTECODE=1

curl -sS --fail-with-body "$ENVOKE_URL/api/v1/openapi.json" >"$work/openapi.json"
# It warns of what it leaves out: calls by plain HTTP, whose replies are the function's.
python3 -m openapi_python_client generate --path "$work/openapi.json" --meta none \
	--output-path "$work/envoke_client" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
echo "generated $(find "$work/envoke_client/api" -name '[a-z]*.py' | wc -l) operations"

python3 session.py
