#!/usr/bin/env bash
# The life of a session, with curl alone.
set -euo pipefail
url=${ENVOKE_URL:-http://127.0.0.1:9000}/api/v1

call() { curl --silent --show-error --fail-with-body "$@"; }

session=$(call "$url/initialize" -H 'Language-Title: nodejs-cart' -d '{
	"script_content": "return { total: event.params.prices.reduce((a, b) => a + b, 0), currency: event.context.currency }",
	"context": { "currency": "EUR" }
}' | sed -n 's/.*"request_id":"\([^"]*\)".*/\1/p')
echo "session $session"

reply=$(call "$url/execute/$session" -d '{"params": {"prices": [1, 2, 3.5]}}')
echo "execute $reply"
[[ $reply == '{"result":{"total":6.5,"currency":"EUR"},'* ]]

echo "read    $(call "$url/sessions/$session")"
call -X DELETE "$url/sessions/$session"
status=$(curl -s -o /dev/null -w '%{http_code}' "$url/execute/$session" -d '{}')
echo "deleted; an execute is $status now"
[ "$status" = 404 ]
