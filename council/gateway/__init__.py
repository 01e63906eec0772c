"""What only the gateway is and does."""
