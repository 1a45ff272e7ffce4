// Edges that a class's circuit gains and loses under a condition, in an effect study: only the condition differs.
// With several circuits (other images), an edge is gained if it is in at least `share` of the circuits of the condition
// and in no natural one.
//
// Parameters:
//   class: string; name of the class
//   condition: string = only, not natural; the other condition
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
//   share: number = 1.0; smallest share of the circuits of the condition that has it, from 0 to 1
// Columns:
//   change: gained or lost
//   edge: name of the edge
//   circuits: number of circuits that have it
//   score: mean score over these circuits

MATCH (c:Circuit)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.class = $class
  AND c.condition IN ['natural', $condition] AND c.id IN $circuits
WITH sum(CASE WHEN c.condition = 'natural' THEN 1 ELSE 0 END) AS before,
  sum(CASE WHEN c.condition = 'natural' THEN 0 ELSE 1 END) AS after
WHERE before > 0 AND after > 0
MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.class = $class
  AND c.condition IN ['natural', $condition] AND c.id IN $circuits
WITH before, after, f.edge AS edge, count(*) AS circuits, avg(f.score) AS score,
  sum(CASE WHEN c.condition = 'natural' THEN 1 ELSE 0 END) AS natural
WHERE (natural = 0 AND 1.0 * circuits / after >= $share) OR (natural = circuits AND 1.0 * circuits / before >= $share)
RETURN CASE WHEN natural = 0 THEN 'gained' ELSE 'lost' END AS change, edge, circuits, score
ORDER BY change, score DESC, edge
