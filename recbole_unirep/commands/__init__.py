"""What a shell can call, one command a file."""
