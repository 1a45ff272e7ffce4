// Edges that are in every circuit of a study.
//
// Parameters:
//   condition: string = "natural"; what was done to the images
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
// Columns:
//   edge: name of the edge
//   classes: number of classes
//   score: mean score over the circuits
//   weakest: smallest score in any of the circuits

MATCH (c:Circuit)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH count(*) AS total
MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH total, f.edge AS edge, count(*) AS circuits, count(DISTINCT c.class) AS classes,
  avg(f.score) AS score, min(f.score) AS weakest
WHERE circuits = total
RETURN edge, classes, score, weakest
ORDER BY score DESC, edge
