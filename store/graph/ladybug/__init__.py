"""The graph in a LadybugDB file."""
