"""The parts of the bootstrap tool, which run on a bare Python 3.6 or newer."""
