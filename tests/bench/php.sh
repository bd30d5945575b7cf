# A script of one line in php-fpm, through the factory fastcgi, beside nginx. Each has a pool of its own, all alike: a
# connection that is kept open holds a process of the pool.
# shellcheck shell=bash disable=SC2034,SC2154,SC2004 # variables come from run and tools.sh, and go there

echo "== hello from php-fpm, 16 connections kept open, 16 processes of PHP"
mkdir "$dir/php"
echo '<?php echo "Hello, world!", PHP_EOL;' >"$dir/php/hello.php"
{
	printf '[global]\nerror_log = %s/php-fpm.log\ndaemonize = no\n' "$dir"
	for name in stackd nginx nginx+keep; do
		printf '[%s]\nlisten = %s\nlisten.mode = 0666\npm = static\npm.max_children = 16\n' "$name" "$dir/$name.fpm"
		if ((EUID == 0)); then
			printf 'user = nobody\ngroup = nogroup\n'
		fi
	done
} >"$dir/fpm.conf"
start php-fpm "$dir/nginx+keep.fpm" php-fpm8.2 -F -y "$dir/fpm.conf"

port=$(free_port) url[stackd]=http://127.0.0.1:$port/hello.php
cat >"$dir/php.yaml" <<END
servers:
  - {use: http, listen: "127.0.0.1:$port"}
stack:
  - errors
  - use: finder
    root: php
    factories:
      .php: {use: fastcgi, address: "unix:$dir/stackd.fpm", max_connections: 16}
END
start stackd "$port" "$dir/stackd" run --log-level warn "$dir/php.yaml"

# As Debian's configuration has it, and with connections to PHP that are kept.
port=$(free_port) keep_port=$(free_port)
url[nginx]=http://127.0.0.1:$port/hello.php url[nginx+keep]=http://127.0.0.1:$keep_port/hello.php
start_nginx nginx "$port" <<END
root $dir/php;
server {
	listen 127.0.0.1:$port;
	location ~ \.php$ { include /etc/nginx/fastcgi.conf; fastcgi_pass unix:$dir/nginx.fpm; }
}
# What a worker keeps from the round before must be gone, or PHP has no process left for the other one.
upstream kept { server unix:$dir/nginx+keep.fpm; keepalive 16; keepalive_timeout 1s; keepalive_requests 1000000; }
server {
	listen 127.0.0.1:$keep_port;
	location ~ \.php$ { include /etc/nginx/fastcgi.conf; fastcgi_pass kept; fastcgi_keep_conn on; }
}
END
meter[nginx+keep]=nginx

servers=(stackd nginx nginx+keep)
echo "Hello, world!" >"$dir/hello"
fetch "$dir/hello" "${servers[@]}"
contest 16 "${servers[@]}"
cpu stackd nginx "at most 1.60"
rate stackd nginx "at least 0.90"
cpu stackd nginx+keep
rate stackd nginx+keep
stop stackd nginx php-fpm
