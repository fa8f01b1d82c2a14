"""What a stranger's file may ask for."""
