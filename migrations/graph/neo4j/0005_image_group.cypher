// Of circuits: the group of the images. Images were not divided into groups before.

MATCH (c:Circuit)
SET c.image_group = '';
