"""What there is beside a program for those who call it: man pages, and completion in shells. Out of the options."""
