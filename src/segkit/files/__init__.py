"""Files of run folders, read and written so that neither a full disk nor a stranger does harm."""
