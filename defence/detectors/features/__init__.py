"""What detectors read from images, one feature per file."""
