#!/bin/sh
# memcached refuses to run as root unless told to.
exec /usr/bin/memcached -u root -l 0.0.0.0 "$@"
