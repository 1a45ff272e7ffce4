"""The discovery methods, one file each, named after its key."""
