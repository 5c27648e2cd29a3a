"""What a request means, which candidates answer it, and which of them is worth proposing. Pure."""
