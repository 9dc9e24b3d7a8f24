"""Several real Docker hosts on one machine: the library behind `scripts/lab`, the end-to-end tests and the demo.

A host is a set of namespaces with its own Docker engine; hosts hang on a bridge inside one more set, the switch.
Nothing is plugged into the machine's own network, so no packet leaves the lab.  Only the standard library is used,
so that all of it runs before any virtual environment exists.
"""

from scripts.lablib.errors import LabError
from scripts.lablib.lab import HostStatus, Lab
from scripts.lablib.layout import Layout

__all__ = ["HostStatus", "Lab", "LabError", "Layout"]
