"""Reading and writing files of run folders, safe against a full disk and untrusted content."""
