"""The world beyond the lab: a page on port 80 of the switch that says which address the visitor came from.

Runs as a program inside the switch, next to the resolver that knows `outside.example`.  It lets a test see that
containers reach the outside, and with whose address, without a packet leaving the lab.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Page(BaseHTTPRequestHandler):
    """Answers every path alike."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Name the visitor's address."""
        body = f"outside sees {self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), Page).serve_forever()
