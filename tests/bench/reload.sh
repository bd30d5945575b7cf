# What a reload takes, what it does to requests, and what it leaves behind.
# shellcheck shell=bash disable=SC2034,SC2154 # variables come from run and tools.sh, and go there

mkdir -p "$dir/reload/site"
write_page "$dir/reload/site/page.html"
stack=$dir/reload/stack.yaml
port=$(free_port)
server="{use: http, listen: \"127.0.0.1:$port\"}"

# turn N replaces the slot errors by its next, and prints what stackd reload says of that.
turn() {
	sed "2s/source_lines: [0-9]*/source_lines: $(($1 % 2 + 1))/" "$stack" >"$stack.new"
	mv "$stack.new" "$stack"
	"$dir/stackd" reload --json "$stack"
}

# spent FIELD... prints the sum of such fields of a report, in ms.
spent() { grep -E "\"($(IFS='|' && echo "$*"))_ns\"" | awk -F '[:,]' '{ sum += $2 } END { print sum / 1e6 }'; }

for n in 100 1000 10000; do
	echo "== a reload that changes one slot of a stack of $n overrides"
	overrides "$n" "$server" 1 >"$stack"
	start reload "$port" "$dir/stackd" run --log-level error "$stack"
	: >"$dir/turns"
	for ((i = 1; i <= checks; i++)); do
		turn "$i" >"$dir/turn"
		echo "$(spent check build listen swap <"$dir/turn") $(spent check <"$dir/turn") $(spent build <"$dir/turn") $(spent swap <"$dir/turn")" >>"$dir/turns"
	done
	wanted=
	((n == 10000)) && wanted="   wanted: under 100"
	echo "$(awk '{ print $1 }' "$dir/turns" | median %.1f) ms from reading the file to the swap$wanted"
	echo "  check $(awk '{ print $2 }' "$dir/turns" | median %.1f), build $(awk '{ print $3 }' "$dir/turns" | median %.1f), swap $(awk '{ print $4 }' "$dir/turns" | median %.3f)"
	stop reload
done

echo
echo "== requests during reloads, ten a second"
overrides 100 "$server" 1 >"$stack"
start reload "$port" "$dir/stackd" run --log-level error "$stack"
# latency prints the 99th percentile of a round under moderate load, in ms.
latency() {
	wrk -t1 -c8 "-d${load}s" --latency "http://127.0.0.1:$port/page.html" >"$dir/wrk"
	if grep -E 'Socket errors|Non-2xx' "$dir/wrk" >&2; then
		echo "tests/bench/run: stackd did not answer every request" >&2
		return 1
	fi
	awk '$1 == "99%" { ms = $2; sub(/[a-z]+$/, "", ms); if ($2 ~ /us$/) ms /= 1000; else if ($2 !~ /ms$/) ms *= 1000; print ms }' "$dir/wrk"
}
: >"$dir/still" && : >"$dir/moving"
for ((round = 0; round < rounds; round++)); do
	latency >>"$dir/still"
	(
		i=0
		while :; do
			turn "$((++i))" >/dev/null 2>&1 || true # the last one may come to a server that stops
			sleep 0.1
		done
	) &
	turning=$!
	latency >>"$dir/moving"
	kill "$turning"
	wait "$turning" || true
done
echo "p99 without reloads $(median %.2f <"$dir/still") ms, with them $(median %.2f <"$dir/moving") ms"
echo "  ratio $(paste "$dir/moving" "$dir/still" | awk '{ print $1 / $2 }' | median %.2f)   wanted: at most 2"
stop reload

echo
echo "== memory after reloads of a stack of 100 overrides"
overrides 100 "$server" 1 >"$stack"
start reload "$port" "$dir/stackd" run --log-level error "$stack"
after=()
for ((i = 1; i <= reloads; i++)); do
	turn "$i" >/dev/null
	if ((i == 10 || i == 100 || i == reloads)); then
		sleep "$settle"
		after+=("$(resident reload)")
		echo "${after[-1]} MB after $i"
	fi
done
awk -v first="${after[0]}" -v last="${after[-1]}" 'BEGIN { printf "%+.1f%%   wanted: at most 5%% more\n", (last / first - 1) * 100 }'
stop reload
