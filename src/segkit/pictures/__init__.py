"""Pictures, sheets and charts."""
