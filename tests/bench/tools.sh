# What the parts of tests/bench/run have in common: servers that are started and stopped, rounds in which each is put
# under load, and their figures.
# shellcheck shell=bash disable=SC2034,SC2154 # variables come from run, and go to the parts

dir=$(mktemp -d)
chmod 755 "$dir" # the peers' workers are other users

# By a server's name: its process, the URL it is asked for, and whose processor time that costs when it isn't its own.
declare -A pid=() url=() meter=()

finish() {
	local status=$?
	if ((${#pid[@]} > 0)); then
		kill "${pid[@]}" 2>/dev/null || true
		wait
	fi
	if ((status != 0)); then
		tail -n 20 "$dir"/*.log >&2 2>/dev/null || true
	fi
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 1' INT TERM

# listens ADDRESS: does somebody listen at that port, or there is that socket?
listens() {
	if [[ $1 == /* ]]; then
		[[ -S $1 ]]
	else
		(: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null
	fi
}

# free_port prints a port that nobody listens on, below those that outgoing connections get.
free_port() {
	local p
	while p=$((20000 + RANDOM % 10000)) && listens "$p"; do :; done
	echo "$p"
}

# start NAME ADDRESS COMMAND... runs a server in the background and waits until it listens.
start() {
	local name=$1 address=$2 i
	shift 2
	"$@" >"$dir/$name.log" 2>&1 </dev/null &
	pid[$name]=$!
	for ((i = 0; i < 200; i++)); do
		if listens "$address"; then
			return
		fi
		kill -0 "${pid[$name]}" # it has ended: set -e ends us too
		sleep 0.05
	done
	echo "tests/bench/run: $name does not listen after 10 s" >&2
	return 1
}

stop() {
	local name
	for name in "$@"; do
		kill "${pid[$name]}"
		wait "${pid[$name]}" || true
		unset "pid[$name]"
	done
}

# start_nginx NAME ADDRESS runs nginx with what standard input has for its http block.
start_nginx() {
	{
		cat <<-END
			daemon off;
			pid $dir/$1.pid;
			error_log $dir/$1.log;
			worker_processes auto;
			events {}
			http {
				types { text/html html; }
				access_log off;
				sendfile on;
				tcp_nopush on;
				keepalive_requests 1000000;
				client_body_temp_path $dir/temporary;
				proxy_temp_path $dir/temporary;
				fastcgi_temp_path $dir/temporary;
				uwsgi_temp_path $dir/temporary;
				scgi_temp_path $dir/temporary;
		END
		cat
		echo '}'
	} >"$dir/$1.conf"
	start "$1" "$2" nginx -c "$dir/$1.conf"
}

# start_caddy NAME PORT runs caddy with what standard input has for its site.
start_caddy() {
	{
		printf '{\n\tadmin off\n\tauto_https off\n}\nhttp://:%s {\n\tbind 127.0.0.1\n' "$2"
		cat
		echo '}'
	} >"$dir/$1.Caddyfile"
	start "$1" "$2" env HOME="$dir" XDG_DATA_HOME="$dir" XDG_CONFIG_HOME="$dir" \
		caddy run --config "$dir/$1.Caddyfile" --adapter caddyfile
}

# processes NAME prints the ids of a server's process and its workers.
processes() {
	local id=${pid[${meter[$1]:-$1}]}
	echo "$id"
	cat "/proc/$id"/task/*/children 2>/dev/null # a thread may just have ended
}

# ticks NAME prints the processor time that a server has used, user and system, in clock ticks.
ticks() {
	local id
	for id in $(processes "$1"); do
		cat "/proc/$id/stat"
	done | awk '{ sub(/^.*\) /, ""); sum += $12 + $13 } END { print sum }'
}

# resident NAME prints how much memory a server has, in MB (of 1e6 bytes).
resident() {
	local id
	for id in $(processes "$1"); do
		cat "/proc/$id/status"
	done | awk '/^VmRSS:/ { sum += $2 } END { printf "%.1f", sum * 1024 / 1e6 }'
}

# fetch FILE NAME... gets each server's answer, which must have that body.
fetch() {
	local body=$1 name
	shift
	for name in "$@"; do
		curl -fsS --max-time 10 -D "$dir/$name.head" -o "$dir/$name.body" "${url[$name]}"
		cmp "$body" "$dir/$name.body"
		echo "$name answers with $(wc -c <"$dir/$name.head") bytes of header"
	done
}

# press NAME CONNECTIONS SECONDS puts a server under load, and prints its name, requests per second, and processor time
# per request in microseconds.
press() {
	local before after
	before=$(ticks "$1")
	wrk -t1 "-c$2" "-d${3}s" "${url[$1]}" >"$dir/wrk"
	after=$(ticks "$1")
	if grep -E 'Socket errors|Non-2xx' "$dir/wrk" >&2; then
		echo "tests/bench/run: $1 did not answer every request" >&2
		return 1
	fi
	awk -v name="$1" -v ticks=$((after - before)) -v hertz="$(getconf CLK_TCK)" '
		/ requests in / { n = $1 }
		/^Requests\/sec:/ { rate = $2 }
		END { print name, rate, ticks * 1e6 / hertz / n }' "$dir/wrk"
}

# contest CONNECTIONS NAME... has the servers take turns, and prints what came of it.
contest() {
	local connections=$1 name round
	shift
	if ((warm > 0)); then
		for name in "$@"; do
			press "$name" "$connections" "$warm" >/dev/null # until caches and heaps are as they stay
		done
	fi
	: >"$dir/rounds"
	for ((round = 0; round < rounds; round++)); do
		for name in "$@"; do
			press "$name" "$connections" "$load" >>"$dir/rounds"
		done
	done
	echo "median of $rounds rounds of $load s each (least-greatest)"
	printf '%-14s %-26s %-24s %s\n' "" "requests/s" "CPU us/request" "memory, MB"
	for name in "$@"; do
		printf '%-14s %-26s %-24s %s\n' "$name" "$(column "$name" 2 | median %.0f)" "$(column "$name" 3 | median %.2f)" "$(resident "$name")"
	done
}

# median FORMAT prints the median of the numbers on standard input, and the least and the greatest.
median() {
	sort -n | awk -v format="$1" '
		{ v[NR] = $1 }
		END { printf format " (" format "-" format ")\n", (v[int((NR + 1) / 2)] + v[int((NR + 2) / 2)]) / 2, v[1], v[NR] }'
}

# column NAME FIELD prints a field of all the rounds of a server.
column() { awk -v name="$1" -v field="$2" '$1 == name { print $field }' "$dir/rounds"; }

# ratio FIELD ONE OTHER prints one server's figure as a multiple of another's in the same round.
ratio() { paste <(column "$2" "$1") <(column "$3" "$1") | awk '{ print $1 / $2 }' | median %.2f; }

# cpu ONE OTHER [WANTED] and rate ONE OTHER [WANTED] print the ratio of two servers.
cpu() { printf '  CPU time   of %-11s / %-13s %s%s\n' "$1" "$2" "$(ratio 3 "$1" "$2")" "${3:+   wanted: $3}"; }
rate() { printf '  requests/s of %-11s / %-13s %s%s\n' "$1" "$2" "$(ratio 2 "$1" "$2")" "${3:+   wanted: $3}"; }

# write_page FILE writes a page of 1 KiB.
write_page() {
	awk 'BEGIN { for (i = 0; i < 16; i++) printf "%-63s\n", "<p>A line of sixty-four characters." }' >"$1"
}

# overrides N [SERVER [LINES]] prints a stack file with N overrides, of several kinds.
overrides() {
	local i
	printf 'servers: [%s]\nstack: [{use: errors, source_lines: %d}, session, {use: finder, root: site}]\nurls:\n' "${2:-http}" "${3:-5}"
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
