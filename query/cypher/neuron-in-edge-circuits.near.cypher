// {paths} of {total} neuron paths under this condition have the neuron; if at least one has, its MLP is in no circuit of edges

MATCH (c:Circuit)-[:HAS]->(n:Node)
WHERE n.kind = 'neuron' AND c.condition = $condition AND c.id IN $circuits
RETURN count(DISTINCT c.id) AS total,
  count(DISTINCT CASE WHEN n.name = $neuron THEN c.id ELSE NULL END) AS paths
