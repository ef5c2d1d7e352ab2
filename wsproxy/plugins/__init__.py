"""Classes of other people by their names: how they are found, called, and kept from doing harm."""
