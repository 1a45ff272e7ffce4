"""The discovery methods: a file each, under the name of its key."""
