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

echo
echo "== stackd check of 1000 overrides"
{
	printf 'servers: [http]\nstack: [errors, session, {use: finder, root: site}]\nurls:\n'
	for ((i = 0; i < 1000; i++)); do
		case $((i % 5)) in
		0) printf '  /area%d/: {session: {lifetime: %dm}, vars: {theme: dark}}\n' "$i" $((i % 50 + 1)) ;;
		1) printf '  /area%d/sub/: {finder: {revalidate: %ds}}\n' $((i - 1)) $((i % 60)) ;;
		2) printf '  "POST /area%d/{id}": {finder: {cache: %d}}\n' $((i - 2)) "$i" ;;
		3) printf '  host%d.example.org/area%d/: {session: off}\n' $((i % 20)) "$i" ;;
		4) printf '  /page%d.html: {session: off, vars: {title: %d}}\n' "$i" "$i" ;;
		esac
	done
} >"$dir/overrides.yaml"
TIMEFORMAT='%R %U %S'
for ((i = 0; i < checks; i++)); do
	{ time "$dir/stackd" check "$dir/overrides.yaml" >/dev/null; } 2>>"$dir/checks"
done
echo "$(awk '{ print $1 * 1000 }' "$dir/checks" | median %.0f) ms from start to exit   wanted: under 150"
echo "$(awk '{ print ($2 + $3) * 1000 }' "$dir/checks" | median %.0f) ms of CPU time"

echo
echo "== in process"
for bench in '^Benchmark(NoOp|Find10000)$' '^BenchmarkCheck$/^1000$'; do
	go test -run '^$' -bench "$bench" -benchtime "$benchtime" -benchmem ./stackfile | grep -E '^(Benchmark|FAIL)'
done
