"""How the proxy is called: twistd's plugin, its options, and shorter command lines."""
