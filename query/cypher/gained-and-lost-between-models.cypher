// Edges that a class's circuit gains and loses from one model to another, for instance by fine-tuning; only the model
// differs. With several circuits (other seeds), an edge is gained if it is in at least `share` of the second model's
// circuits and in none of the first model's.
//
// Parameters:
//   class: string; name of the class
//   before, after: string; model, by its name or the first digits of its id
//   condition: string = "natural"; what was done to the images
//   dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
//   share: number = 1.0; smallest share of the circuits of the model that has it, from 0 to 1
// Columns:
//   change: gained or lost
//   edge: name of the edge
//   circuits: number of circuits that have it
//   score: mean score over these circuits

MATCH (c:Circuit)
WHERE c.model_id IN [$before, $after] AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.class = $class
  AND c.condition = $condition AND c.id IN $circuits
WITH sum(CASE WHEN c.model_id = $before THEN 1 ELSE 0 END) AS firsts,
  sum(CASE WHEN c.model_id = $after THEN 1 ELSE 0 END) AS seconds
WHERE firsts > 0 AND seconds > 0
MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.model_id IN [$before, $after] AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.class = $class
  AND c.condition = $condition AND c.id IN $circuits
WITH firsts, seconds, f.edge AS edge, count(*) AS circuits, avg(f.score) AS score,
  sum(CASE WHEN c.model_id = $before THEN 1 ELSE 0 END) AS kept
WHERE (kept = 0 AND 1.0 * circuits / seconds >= $share) OR (kept = circuits AND 1.0 * circuits / firsts >= $share)
RETURN CASE WHEN kept = 0 THEN 'gained' ELSE 'lost' END AS change, edge, circuits, score
ORDER BY change, score DESC, edge
