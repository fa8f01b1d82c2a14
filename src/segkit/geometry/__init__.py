"""Where things lie in a picture."""
