#!/bin/sh
# What a CGI script is told (RFC 3875).
printf 'Content-Type: text/plain; charset=utf-8\r\n\r\n'
printf 'A script, run by the cgi factory because its name ends with .cgi.\n\n'
env | sort
