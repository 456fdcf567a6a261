"""What the end-to-end tests are made of: servers, an oracle that reads rows back, and ways to break things."""
