"""Where a token leads: files, directories and services that tokens are looked up in, by the original's names."""
