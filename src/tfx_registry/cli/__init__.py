"""The command line: parsing, tables, exit codes. What it does is in the library."""
