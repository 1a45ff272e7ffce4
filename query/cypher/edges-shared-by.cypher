// Edges that are in the circuits of all given classes.
//
// Parameters:
//   classes: strings; names of the classes
//   condition: string = "natural"; what was done to the images
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
// Columns:
//   edge: name of the edge
//   score: mean score over the circuits of these classes
//   elsewhere: number of circuits of other classes that also have it

MATCH (c:Circuit)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
  AND c.class IN $classes
WITH count(*) AS total
MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH total, f.edge AS edge,
  sum(CASE WHEN c.class IN $classes THEN 1 ELSE 0 END) AS circuits,
  avg(CASE WHEN c.class IN $classes THEN f.score ELSE NULL END) AS score,
  sum(CASE WHEN c.class IN $classes THEN 0 ELSE 1 END) AS elsewhere
WHERE circuits = total AND total > 0
RETURN edge, score, elsewhere
ORDER BY score DESC, edge
