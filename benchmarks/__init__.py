"""How fast the proxy is beside others, measured on one machine in one run. See README.rst."""
