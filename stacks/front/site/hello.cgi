#!/bin/sh
# Who is greeted stands in the query, where the rewrite rule has put it.
printf 'Content-Type: text/plain; charset=utf-8\r\n\r\n'
printf 'Hello, %s. You asked for %s, from %s.\n' "${QUERY_STRING#name=}" "$REQUEST_URI" "$REMOTE_ADDR"
