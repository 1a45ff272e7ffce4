"""What is fitted and chosen on images, and used on other images: detectors of suspicious images."""
