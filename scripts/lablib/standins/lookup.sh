#!/bin/sh
# lookup NAME [4|6]: prints each address glibc's resolver gives, one a line; exit 1 if none.
case "${2:-}" in 4) base=ahostsv4 ;; 6) base=ahostsv6 ;; *) base=ahosts ;; esac
found=$(getent "$base" "$1") || { echo "lookup: $1: not found" >&2; exit 1; }
echo "$found" | awk '$2 == "STREAM" { print $1 }'
