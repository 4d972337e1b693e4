"""What the figures are held against: other people's software, unmodified defaults."""
