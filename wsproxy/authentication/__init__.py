"""Who a client is: those who say so."""
