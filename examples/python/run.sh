#!/usr/bin/env bash
# Deploys words.py with its schema, calls it, and is refused.
set -euo pipefail
cd "$(dirname "$0")"
export ENVOKE_URL=${ENVOKE_URL:-http://127.0.0.1:9000}
envoke=${ENVOKE:-../../bin/envoke}

"$envoke" deploy .
trap '"$envoke" delete python-words --yes' EXIT

reply=$("$envoke" invoke python-words --data '{"text": "The quick fox and the lazy dog: the end", "most": 1}')
echo "$reply"
[ "$(tr -d ' \n' <<<"$reply")" = '{"words":9,"most":[["the",3]]}' ]

# Params are held against the schema before any code runs.
reply=$(curl -sS "$ENVOKE_URL/runtime/python/words" -d '{"params": {"text": 1}}')
echo "$reply"
[[ $reply == *INVALID_PARAMS*'"path":"/text"'* ]]
