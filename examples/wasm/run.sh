#!/usr/bin/env bash
# Builds WebAssembly modules from Rust and from Go, deploys them and calls them.
set -euo pipefail
cd "$(dirname "$0")"
export ENVOKE_URL=${ENVOKE_URL:-http://127.0.0.1:9000}
envoke=${ENVOKE:-../../bin/envoke}

modules=$(mktemp -d)
deployed=()
finish() {
	for name in "${deployed[@]}"; do "$envoke" delete "$name" --yes; done
	rm -rf "$modules"
}
trap finish EXIT

GOOS=wasip1 GOARCH=wasm go build -trimpath -ldflags='-s -w' -o "$modules/words.wasm" ./words
if (cd primes && cargo build --quiet --locked --release --target wasm32-wasip1 --target-dir "$modules/target"); then
	cp "$modules/target/wasm32-wasip1/release/primes.wasm" "$modules/primes.wasm"
else
	echo "Rust with the target wasm32-wasip1 is not here: taking the module that is committed" >&2
	cp primes.wasm "$modules/primes.wasm"
fi

for name in primes words; do
	"$envoke" deploy "$modules/$name.wasm"
	deployed+=("rust-$name")
done

invoke() { # name, params, result wanted
	local reply
	reply=$("$envoke" invoke "$1" --data "$2" | tr -d ' \n')
	echo "$1 $2 → $reply"
	[ "$reply" = "$3" ]
}
invoke rust-primes '{"n": 600851475143}' '{"factors":[71,839,1471,6857],"n":600851475143}'
invoke rust-words '{"words": ["wasm", "go"]}' '{"sorted":["go","wasm"],"joined":"gowasm"}'
