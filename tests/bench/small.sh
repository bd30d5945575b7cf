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

# overrides N prints a stack file with N overrides, of several kinds.
overrides() {
	local i
	printf 'servers: [http]\nstack: [errors, session, {use: finder, root: site}]\nurls:\n'
	for ((i = 0; i < $1; i++)); do
		case $((i % 5)) in
		0) printf '  /area%d/: {session: {lifetime: %dm}, vars: {theme: dark}}\n' "$i" $((i % 50 + 1)) ;;
		1) printf '  /area%d/sub/: {finder: {revalidate: %ds}}\n' $((i - 1)) $((i % 60)) ;;
		2) printf '  "POST /area%d/{id}": {finder: {cache: %d}}\n' $((i - 2)) "$i" ;;
		3) printf '  host%d.example.org/area%d/: {session: off}\n' $((i % 20)) "$i" ;;
		4) printf '  /page%d.html: {session: off, vars: {title: %d}}\n' "$i" "$i" ;;
		esac
	done
}

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
