// The heads and MLPs of a study's circuits, sorted by the number of circuits that have them.
//
// Parameters:
//   condition: string = "natural"; what was done to the images
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
// Columns:
//   component: name of the component
//   kind: head, mlp, attention …
//   layer: its layer, counted from 0
//   circuits: number of circuits that have it
//   share: share of the circuits of the study under the condition

MATCH (c:Circuit)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH count(*) AS total
MATCH (c:Circuit)-[:HAS]->(n:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH total, n.name AS component, n.kind AS kind, n.layer AS layer, count(*) AS circuits
RETURN component, kind, layer, circuits, 1.0 * circuits / total AS share
ORDER BY circuits DESC, component
