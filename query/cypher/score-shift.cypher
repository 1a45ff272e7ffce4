// Changes of the scores of edges that are in a class's circuit both natural and under another condition, in an effect
// study.
//
// Parameters:
//   class: string; name of the class
//   condition: string = only, not natural; the other condition
//   model, dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
// Columns:
//   edge: name of the edge
//   natural: mean score on natural images
//   attacked: mean score under the condition
//   shift: attacked − natural

MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.class = $class
  AND c.condition IN ['natural', $condition] AND c.id IN $circuits
WITH f.edge AS edge, avg(CASE WHEN c.condition = 'natural' THEN f.score ELSE NULL END) AS natural,
  avg(CASE WHEN c.condition = 'natural' THEN NULL ELSE f.score END) AS attacked
WHERE natural IS NOT NULL AND attacked IS NOT NULL
RETURN edge, natural, attacked, attacked - natural AS shift
ORDER BY abs(attacked - natural) DESC, edge
