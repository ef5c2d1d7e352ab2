"""How many may come in, and how often one may guess."""
