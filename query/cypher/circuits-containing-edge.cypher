// The circuits that contain an edge, sorted by its score in them.
//
// Parameters:
//   edge: string; name of the edge, such as `a0.h1->a2.h0<q>`
// Columns:
//   model: name of the model
//   dataset: name of the data set
//   class: name of the class
//   image_group: group of the images; empty for images that are not divided into groups
//   condition: what was done to the images
//   metric: metric of the scores
//   extraction: how the circuit was extracted from the scores
//   score: score of the edge; positive raises the metric
//   rank: order of extraction; 1 = first
//   frequency: share of bootstrap samples of the images that choose it
//   id: id of the circuit

MATCH (s:Node)-[f:FEEDS]->(:Node)
WHERE f.edge = $edge
MATCH (c:Circuit)-[:HAS]->(s)
WHERE CASE WHEN $listed THEN c.id IN $circuits ELSE NOT c.id IN $left_out END
RETURN c.model AS model, c.model_id AS model_id, c.dataset AS dataset, c.class AS class, c.image_group AS image_group,
  c.condition AS condition,
  c.metric AS metric, c.extraction AS extraction, f.score AS score, f.rank AS rank, f.frequency AS frequency, c.id AS id
ORDER BY score DESC, id
