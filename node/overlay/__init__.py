"""The shell of the overlay: reads a host's links, routes and rules, carries out the plans of `node/plan/overlay.py`.

Home of pyroute2, nft, iptables and wireguard-go; nothing here decides what is wanted.
"""

from node.overlay.overlay import Overlay

__all__ = ["Overlay"]
