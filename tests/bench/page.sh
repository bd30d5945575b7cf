# A file from disk, beside a bare net/http handler, nginx and caddy.
# shellcheck shell=bash disable=SC2034,SC2154,SC2004 # variables come from run and tools.sh, and go there

echo "== a page of 1 KiB, 64 connections kept open, one thread of wrk on the same processors"
mkdir "$dir/site"
write_page "$dir/site/page.html"

port=$(free_port) url[stackd]=http://127.0.0.1:$port/page.html
cat >"$dir/page.yaml" <<END
servers:
  - {use: http, listen: "127.0.0.1:$port"}
stack:
  - errors
  - session
  - {use: finder, root: site}
END
start stackd "$port" "$dir/stackd" run --log-level warn "$dir/page.yaml"

port=$(free_port) url[bare]=http://127.0.0.1:$port/page.html
start bare "$port" "$dir/bare" "127.0.0.1:$port" "${url[stackd]}"
port=$(free_port) url[bare+16M]=http://127.0.0.1:$port/page.html
start bare+16M "$port" "$dir/bare" "127.0.0.1:$port" "${url[stackd]}" 16777216

port=$(free_port) url[nginx]=http://127.0.0.1:$port/page.html
start_nginx nginx "$port" <<END
server { listen 127.0.0.1:$port; root $dir/site; }
END
port=$(free_port) url[caddy]=http://127.0.0.1:$port/page.html
start_caddy caddy "$port" <<END
root * $dir/site
file_server
END

servers=(bare bare+16M stackd nginx caddy)
fetch "$dir/site/page.html" "${servers[@]}"
# The bare handler must do stackd's work, or it measures nothing.
diff <(grep -v ^Date: "$dir/stackd.head" | sort) <(grep -v ^Date: "$dir/bare.head" | sort)
contest 64 "${servers[@]}"
cpu stackd bare "at most 1.40"
cpu stackd caddy "at most 0.35"
cpu stackd nginx
cpu stackd bare+16M # which has its garbage collected as seldom as stackd
stop "${servers[@]}"
