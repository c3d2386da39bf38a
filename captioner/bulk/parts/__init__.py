"""A table in parts, which any number of processes and machines write into one folder."""
