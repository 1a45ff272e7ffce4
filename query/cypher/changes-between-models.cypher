// What changes from one model to another, for instance by fine-tuning, by class: edges of the circuits and figures of
// their evaluation; only the model differs. With several circuits (other seeds), an edge counts as kept if circuits of
// both models have it.
//
// Parameters:
//   before, after: string; model, by its name or the first digits of its id
//   condition: string = "natural"; what was done to the images
//   dataset, form, method, metric, direction, corruption, extraction: string = only; the study
//   image_group: string = ""; group of the images; empty for images that are not divided into groups
// Columns:
//   class: name of the class
//   kept: number of edges in circuits of both models
//   gained: number of edges in circuits of the second model only
//   lost: number of edges in circuits of the first model only
//   faithfulness: mean faithfulness in the first model
//   faithfulness_change: that in the second model minus that in the first
//   retention: mean retention in the first model
//   retention_change: the same difference
//   accuracy: accuracy of the first model on the report images
//   accuracy_change: the same difference

MATCH (c:Circuit)
WHERE c.model_id IN [$before, $after] AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH c.class AS class, sum(CASE WHEN c.model_id = $before THEN 1 ELSE 0 END) AS firsts,
  sum(CASE WHEN c.model_id = $after THEN 1 ELSE 0 END) AS seconds,
  avg(CASE WHEN c.model_id = $before THEN c.faithfulness ELSE NULL END) AS faithfulness,
  avg(CASE WHEN c.model_id = $after THEN c.faithfulness ELSE NULL END) AS faithfulness_after,
  avg(CASE WHEN c.model_id = $before THEN c.retention ELSE NULL END) AS retention,
  avg(CASE WHEN c.model_id = $after THEN c.retention ELSE NULL END) AS retention_after,
  avg(CASE WHEN c.model_id = $before THEN c.accuracy_full ELSE NULL END) AS accuracy,
  avg(CASE WHEN c.model_id = $after THEN c.accuracy_full ELSE NULL END) AS accuracy_after
WHERE firsts > 0 AND seconds > 0
MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.class = class AND c.model_id IN [$before, $after] AND c.dataset = $dataset AND c.form = $form
  AND c.method = $method AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH class, faithfulness, faithfulness_after, retention, retention_after, accuracy, accuracy_after, f.edge AS edge,
  sum(CASE WHEN c.model_id = $before THEN 1 ELSE 0 END) AS was,
  sum(CASE WHEN c.model_id = $after THEN 1 ELSE 0 END) AS now
WITH class, faithfulness, faithfulness_after, retention, retention_after, accuracy, accuracy_after,
  sum(CASE WHEN was > 0 AND now > 0 THEN 1 ELSE 0 END) AS kept, sum(CASE WHEN was = 0 THEN 1 ELSE 0 END) AS gained,
  sum(CASE WHEN now = 0 THEN 1 ELSE 0 END) AS lost
RETURN class, kept, gained, lost, faithfulness, faithfulness_after - faithfulness AS faithfulness_change,
  retention, retention_after - retention AS retention_change,
  accuracy, accuracy_after - accuracy AS accuracy_change
ORDER BY class
