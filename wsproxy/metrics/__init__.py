"""What is counted of sessions and those who were turned away, for whoever looks now and then."""
