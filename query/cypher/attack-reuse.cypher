// Edges that are in many circuits of a condition and in few or no natural circuits of an effect study.
// With the defaults: in all circuits of the condition and in no natural one.
//
// Parameters:
//   condition: string = only, not natural; the other condition
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
//   share: number = 1.0; smallest share of the circuits of the condition, from 0 to 1
//   natural_share: number = 0.0; largest share of the natural circuits, from 0 to 1
// Columns:
//   edge: name of the edge
//   attacked: share of the circuits of the condition that have it
//   natural: share of the natural circuits that have it
//   score: mean score over the circuits of the condition that have it

MATCH (c:Circuit)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition IN ['natural', $condition] AND c.id IN $circuits
WITH sum(CASE WHEN c.condition = 'natural' THEN 1 ELSE 0 END) AS before,
  sum(CASE WHEN c.condition = 'natural' THEN 0 ELSE 1 END) AS after
WHERE before > 0 AND after > 0
MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition IN ['natural', $condition] AND c.id IN $circuits
WITH before, after, f.edge AS edge,
  sum(CASE WHEN c.condition = 'natural' THEN 1 ELSE 0 END) AS untouched,
  sum(CASE WHEN c.condition = 'natural' THEN 0 ELSE 1 END) AS touched,
  avg(CASE WHEN c.condition = 'natural' THEN NULL ELSE f.score END) AS score
WITH edge, 1.0 * touched / after AS attacked, 1.0 * untouched / before AS natural, score
WHERE attacked > 0 AND attacked >= $share AND natural <= $natural_share
RETURN edge, attacked, natural, score
ORDER BY attacked DESC, score DESC, edge
