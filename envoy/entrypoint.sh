#!/bin/sh
# Starts Envoy with the bootstrap of the image, or with $ENVOY_BOOTSTRAP. Arguments are passed on to Envoy.
set -eu
# One Envoy per container: there is nothing to hot-restart. `exec`, so that Envoy itself gets the signals.
exec envoy -c "${ENVOY_BOOTSTRAP:-/etc/envoy/bootstrap.yaml}" --disable-hot-restart \
    --log-level "${ENVOY_LOG_LEVEL:-warning}" "$@"
