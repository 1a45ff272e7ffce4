// Of circuits: the fingerprint of the model, what the images were contrasted with (not recorded before), and a flag.

ALTER TABLE Circuit ADD model_id STRING;
ALTER TABLE Circuit ADD word STRING;
ALTER TABLE Circuit ADD target STRING;
ALTER TABLE Circuit ADD against STRING;
ALTER TABLE Circuit ADD flag STRING;

MATCH (c:Circuit)-[:OF_MODEL]->(m:Model)
SET c.model_id = m.id;

MATCH (c:Circuit)
WITH c, CASE WHEN c.n_edges = c.n_graph_edges THEN 'whole model' WHEN c.n_edges = 0 THEN 'empty' ELSE '' END AS size,
  CASE WHEN c.n_images < 6 THEN 'few images' ELSE '' END AS images
SET c.flag = CASE WHEN size = '' THEN images WHEN images = '' THEN size ELSE size + ', ' + images END;
