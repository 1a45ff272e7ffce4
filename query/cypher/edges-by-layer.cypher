// The edges of a study's circuits by the layer, kind and port of their receivers.
//
// Parameters:
//   condition: string = "natural"; what was done to the images
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
// Columns:
//   layer: layer of the receiver, counted from 0; null for logits
//   kind: kind of the receiver
//   port: q, k, v or empty
//   edges: mean number of edges per circuit
//   score: mean score of these edges

MATCH (c:Circuit)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH count(*) AS total
MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(r:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH total, r.layer AS layer, r.kind AS kind, f.port AS port, count(*) AS found, avg(f.score) AS score
RETURN layer, kind, port, 1.0 * found / total AS edges, score
ORDER BY coalesce(layer, 1000), kind, port
