"""Several processes behind one set of listening sockets."""
