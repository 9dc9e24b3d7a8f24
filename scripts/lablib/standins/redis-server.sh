#!/bin/sh
# Reachable from other containers, as the public image is; a configuration file given first stays first.
case "${1:-}" in
    "" | -*) exec /usr/bin/redis-server --protected-mode no --bind 0.0.0.0 --save "" --dir /data "$@" ;;
    *) file=$1; shift; exec /usr/bin/redis-server "$file" --protected-mode no --bind 0.0.0.0 "$@" ;;
esac
