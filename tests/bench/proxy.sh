# The proxy, beside haproxy and caddy, in front of an nginx that has a page of 1 KiB.
# shellcheck shell=bash disable=SC2034,SC2154,SC2004 # variables come from run and tools.sh, and go there

echo "== a page of 1 KiB from another server, 64 connections kept open"
mkdir "$dir/upstream"
write_page "$dir/upstream/page.html"
upstream=$(free_port)
start_nginx upstream "$upstream" <<END
server { listen 127.0.0.1:$upstream; root $dir/upstream; }
END

port=$(free_port) url[stackd]=http://127.0.0.1:$port/page.html
cat >"$dir/proxy.yaml" <<END
servers:
  - {use: http, listen: "127.0.0.1:$port"}
stack:
  - errors
  - {use: proxy, to: ["http://127.0.0.1:$upstream"]}
END
start stackd "$port" "$dir/stackd" run --log-level warn "$dir/proxy.yaml"

port=$(free_port) url[haproxy]=http://127.0.0.1:$port/page.html
cat >"$dir/haproxy.cfg" <<END
defaults
	mode http
	option forwardfor
	timeout connect 5s
	timeout client 1m
	timeout server 1m
listen proxy
	bind 127.0.0.1:$port
	server upstream 127.0.0.1:$upstream
END
start haproxy "$port" haproxy -db -f "$dir/haproxy.cfg"

# Caddy keeps 32 connections to an upstream if it isn't told otherwise, half of what is needed here.
port=$(free_port) url[caddy]=http://127.0.0.1:$port/page.html
start_caddy caddy "$port" <<END
reverse_proxy 127.0.0.1:$upstream {
	transport http {
		keepalive_idle_conns_per_host 128
	}
}
END

servers=(stackd haproxy caddy)
fetch "$dir/upstream/page.html" "${servers[@]}"
contest 64 "${servers[@]}"
cpu stackd caddy "at most 0.50"
cpu stackd haproxy "at most 2.00"
stop "${servers[@]}" upstream
