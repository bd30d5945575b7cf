#!/bin/sh
echo "Content-Type: text/plain"
echo
echo "SCRIPT_NAME=$SCRIPT_NAME"
echo "PATH_INFO=$PATH_INFO"
echo "REQUEST_URI=$REQUEST_URI"
