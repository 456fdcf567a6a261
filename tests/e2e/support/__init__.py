"""Building blocks of the end-to-end tests: servers, an oracle that reads rows back, and faults."""
