#!/bin/sh
# Makes the passwords of docker-compose.yml's databases, and the key of functions' secrets, once, in .envoke/compose of the
# clone. The folder is closed to others; the files in it are not, since containers read them
# as users of their own.
set -eu
cd "$(dirname "$0")/../.."
dir=.envoke/compose
mkdir -p "$dir"
chmod 0700 "$dir"

random() { od -An "-N${1:-24}" -tx1 -v /dev/urandom | tr -d ' \n'; }

# keep NAME: writes its standard input to the file NAME, unless that is there.
keep() {
	if [ -s "$dir/$1" ]; then cat >/dev/null; else cat >"$dir/$1.new" && chmod 0444 "$dir/$1.new" && mv "$dir/$1.new" "$dir/$1"; fi
}

random | keep postgres_password
random | keep redis_password
random 32 | keep secrets_key
echo "postgres://envoke:$(cat "$dir/postgres_password")@postgres:5432/envoke?sslmode=disable" | keep database_url
echo "redis://:$(cat "$dir/redis_password")@redis:6379/0" | keep redis_url
echo "requirepass $(cat "$dir/redis_password")" | keep redis_conf
