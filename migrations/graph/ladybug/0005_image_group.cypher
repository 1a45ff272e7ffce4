// Of circuits: the group of the images. Images were not divided into groups before.

ALTER TABLE Circuit ADD image_group STRING;

MATCH (c:Circuit)
SET c.image_group = '';
