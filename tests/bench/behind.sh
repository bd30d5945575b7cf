# The server fastcgi behind nginx, beside the standard library's net/http/fcgi.
# shellcheck shell=bash disable=SC2034,SC2154,SC2004 # variables come from run and tools.sh, and go there

echo "== an answer of 1 KiB over FastCGI, 64 connections to nginx kept open"
write_page "$dir/answer"
port=$(free_port)
cat >"$dir/behind.yaml" <<END
servers:
  - {use: http, listen: "127.0.0.1:$port"}
  - {use: fastcgi, listen: "unix:$dir/stackd.sock", mode: "0666"}
stack:
  - use: respond
    type: text/html; charset=utf-8
    body: |
$(sed 's/^/      /' "$dir/answer")
END
start stackd "$dir/stackd.sock" "$dir/stackd" run --log-level warn "$dir/behind.yaml"
# net/http/fcgi gives the answer that stackd gives, from memory as stackd does.
start fcgi "$dir/fcgi.sock" "$dir/bare" "fastcgi:$dir/fcgi.sock" "http://127.0.0.1:$port/"
start fcgi+16M "$dir/fcgi+16M.sock" "$dir/bare" "fastcgi:$dir/fcgi+16M.sock" "http://127.0.0.1:$port/" 16777216

# With a connection for each request, as nginx has it by default, and with connections that are kept.
servers=()
for name in stackd fcgi fcgi+16M; do
	port=$(free_port) keep_port=$(free_port)
	url[$name]=http://127.0.0.1:$port/ url[$name+keep]=http://127.0.0.1:$keep_port/
	meter[$name+keep]=$name
	servers+=("$name" "$name+keep")
	cat >>"$dir/behind.nginx" <<-END
		server {
			listen 127.0.0.1:$port;
			location / { include /etc/nginx/fastcgi.conf; fastcgi_pass unix:$dir/$name.sock; }
		}
		upstream $name { server unix:$dir/$name.sock; keepalive 64; keepalive_requests 1000000; }
		server {
			listen 127.0.0.1:$keep_port;
			location / { include /etc/nginx/fastcgi.conf; fastcgi_pass $name; fastcgi_keep_conn on; }
		}
	END
done
start_nginx nginx "$port" <"$dir/behind.nginx"

fetch "$dir/answer" "${servers[@]}"
diff <(grep -v ^Date: "$dir/stackd.head" | sort) <(grep -v ^Date: "$dir/fcgi.head" | sort)
contest 64 "${servers[@]}"
for keep in "" +keep; do
	rate "stackd$keep" "fcgi$keep" "at least 1.00"
	cpu "stackd$keep" "fcgi$keep" "at most 1.00"
	rate "stackd$keep" "fcgi+16M$keep" # which has its garbage collected as seldom as stackd
	cpu "stackd$keep" "fcgi+16M$keep"
done
stop nginx stackd fcgi fcgi+16M
