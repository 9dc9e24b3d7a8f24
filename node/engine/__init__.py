"""Container engines behind the Engine port: Docker, whose Python client has its one home here, and one in memory."""
