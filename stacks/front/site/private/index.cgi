#!/bin/sh
# auth_basic has checked who it is.
printf 'Content-Type: text/plain; charset=utf-8\r\n\r\n'
printf 'Only you can read this, %s. Your request is %s.\n' "$REMOTE_USER" "$HTTP_X_REQUEST_ID"
