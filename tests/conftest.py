"""What holds for every test."""

import signal

# A runner that was started in the background ignores SIGINT, and so would every program that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
