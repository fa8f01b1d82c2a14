"""What an untrusted file may ask for."""
