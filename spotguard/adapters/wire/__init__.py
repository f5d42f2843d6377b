"""HTTP/1.1 over our own sockets: bodies, connections, pacing; it knows files and no store."""
