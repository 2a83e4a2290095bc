#!/bin/sh
# What udhcpc calls at each event, in a namespace VM and in a real guest: applies the lease, writes
# it to $LEASE_DIR/lease (a line a value) and the event's name to $LEASE_DIR/events.
# Needs only busybox. Source of the variables: udhcpc --help, RFC 2132, RFC 3442 (staticroutes).
: "${LEASE_DIR:=/run}"
echo "$1" >>"$LEASE_DIR/events"
case $1 in
deconfig)
    rm -f "$LEASE_DIR/lease"
    ip addr flush dev "$interface"
    ip link set "$interface" up
    exit 0
    ;;
bound)
    ip addr flush dev "$interface"
    ip addr add "$ip/$mask" dev "$interface"
    ;;
renew) ;;
*) exit 0 ;;
esac
if [ -n "$mtu" ]; then ip link set "$interface" mtu "$mtu"; fi
if [ -n "$staticroutes" ]; then # RFC 3442: then the router option is to be ignored
    set -- $staticroutes
    while [ $# -ge 2 ]; do
        case $2 in
        0.0.0.0) ip route replace "$1" dev "$interface" ;;
        *) ip route replace "$1" via "$2" dev "$interface" ;;
        esac
        shift 2
    done
else
    for via in $router; do ip route replace default via "$via" dev "$interface"; done
fi
{
    echo "ip=$ip"
    echo "mask=$mask"
    echo "mtu=$mtu"
    echo "router=$router"
    echo "dns=$dns"
    echo "staticroutes=$staticroutes"
    echo "serverid=$serverid"
    echo "lease=$lease"
    echo "domain=$domain"
    echo "hostname=$hostname"
} >"$LEASE_DIR/lease.new"
mv "$LEASE_DIR/lease.new" "$LEASE_DIR/lease" # whole or not at all
