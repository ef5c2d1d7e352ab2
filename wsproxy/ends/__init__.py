"""The two sides of a tunnel: whatever moves bytes, behind one contract."""
