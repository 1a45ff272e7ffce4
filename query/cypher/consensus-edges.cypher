// Edges that are in most circuits of a study.
//
// Parameters:
//   condition: string = "natural"; what was done to the images
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
//   share: number = 0.8; smallest share of the circuits, from 0 to 1
// Columns:
//   edge: name of the edge
//   circuits: number of circuits that have it
//   share: share of the circuits of the study under the condition
//   score: mean score over the circuits that have it
//   rank: mean rank over these circuits; 1 = extracted first

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
WITH total, f.edge AS edge, count(*) AS circuits, avg(f.score) AS score, avg(f.rank) AS rank
WHERE 1.0 * circuits / total >= $share
RETURN edge, circuits, 1.0 * circuits / total AS share, score, rank
ORDER BY circuits DESC, score DESC, edge
