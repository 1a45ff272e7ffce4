// every edge of the class is also in circuits of other classes; {edge} is in the fewest, {others} of them

MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.condition = $condition AND c.id IN $circuits
WITH f.edge AS edge, sum(CASE WHEN c.class = $class THEN 1 ELSE 0 END) AS own,
  sum(CASE WHEN c.class = $class THEN 0 ELSE 1 END) AS others,
  avg(CASE WHEN c.class = $class THEN f.score ELSE NULL END) AS score
WHERE own > 0
RETURN edge, others, score
ORDER BY others, score DESC, edge
LIMIT 1
