"""What nodes say to each other: pure protocol cores, with no sockets, disk, clock or threads."""
