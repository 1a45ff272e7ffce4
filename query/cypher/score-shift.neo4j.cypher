// All rows packed into one, which saves Neo4j's driver one message per row: see `query/named.py`.

MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node)
WHERE c.model_id = $model AND c.dataset = $dataset AND c.form = $form AND c.method = $method
  AND c.image_group = $image_group AND c.metric = $metric AND c.direction = $direction
  AND c.corruption = $corruption AND c.extraction = $extraction
  AND c.class = $class
  AND c.condition IN ['natural', $condition] AND c.id IN $circuits
WITH f.edge AS edge, avg(CASE WHEN c.condition = 'natural' THEN f.score ELSE NULL END) AS natural,
  avg(CASE WHEN c.condition = 'natural' THEN NULL ELSE f.score END) AS attacked
WHERE natural IS NOT NULL AND attacked IS NOT NULL
WITH edge, natural, attacked, attacked - natural AS shift
ORDER BY abs(attacked - natural) DESC, edge
LIMIT $max_rows
RETURN collect(coalesce(edge, [])) AS edge,
  collect(coalesce(natural, [])) AS natural,
  collect(coalesce(attacked, [])) AS attacked,
  collect(coalesce(shift, [])) AS shift
