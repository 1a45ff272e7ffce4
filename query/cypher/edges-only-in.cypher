// Edges that are in the circuit of one class and of no other class.
//
// Parameters:
//   class: string; name of the class
//   condition: string = "natural"; what was done to the images
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
// Columns:
//   edge: name of the edge
//   circuits: number of circuits of the class that have it
//   score: mean score over these circuits

MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH f.edge AS edge, count(DISTINCT c.class) AS classes, min(c.class) AS class, count(*) AS circuits,
  avg(f.score) AS score
WHERE classes = 1 AND class = $class
RETURN edge, circuits, score
ORDER BY score DESC, edge
