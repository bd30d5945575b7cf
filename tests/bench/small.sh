# What isn't measured beside a peer.
# shellcheck shell=bash disable=SC2034,SC2154,SC2004 # variables come from run and tools.sh, and go there

echo "== idle memory of stacks/static.yaml"
cp -r stacks "$dir/stacks"
port=$(free_port)
sed -i "s/127\.0\.0\.1:[0-9]*/127.0.0.1:$port/" "$dir/stacks/static.yaml"
start idle "$port" "$dir/stackd" run --log-level warn "$dir/stacks/static.yaml"
curl -fsS --max-time 10 -o "$dir/idle.body" "http://127.0.0.1:$port/"
sleep "$settle"
echo "$(resident idle) MB after one request   wanted: under 25"
stop idle

TIMEFORMAT='%R %U %S'
for n in 1000 3000 10000; do
	echo
	echo "== stackd check of $n overrides"
	overrides "$n" >"$dir/overrides.yaml"
	for ((i = 0; i < checks; i++)); do
		{ time "$dir/stackd" check "$dir/overrides.yaml" >/dev/null; } 2>>"$dir/checks.$n"
	done
	echo "$(awk '{ print $1 * 1000 }' "$dir/checks.$n" | median %.0f) ms from start to exit   wanted: under 150 for 1000, and 1000 for 10000"
	echo "$(awk '{ print ($2 + $3) * 1000 }' "$dir/checks.$n" | median %.0f) ms of CPU time"
	/usr/bin/time -f %M -o "$dir/most" "$dir/stackd" check "$dir/overrides.yaml" >/dev/null
	echo "$(awk '{ printf "%.0f", $1 * 1024 / 1e6 }' "$dir/most") MB at most   wanted: under 300 for 10000"
done

echo
echo "== in process"
go test -run '^$' -bench '^Benchmark(NoOp|Find|Check|Explain)$' -benchtime "$benchtime" -benchmem ./stackfile | grep -E '^(Benchmark|FAIL)'
