// no edge is in so many attacked and so few natural circuits; {edge} comes nearest, in {touched} of {after} attacked and {untouched} of {before} natural ones

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
  sum(CASE WHEN c.condition = 'natural' THEN 0 ELSE 1 END) AS touched
RETURN edge, touched, after, untouched, before
ORDER BY 1.0 * touched / after - 1.0 * untouched / before DESC, edge
LIMIT 1
