// How many edges the whole graph of a circuit's form has, in closed form: before layer l come 1 + (heads + 1) l senders.

MATCH (c:Circuit)-[:OF_MODEL]->(m:Model)
WITH c, m.n_layers AS layers, CASE c.form WHEN 'block' THEN 1 ELSE m.n_heads END AS heads
WITH c, layers, heads, layers + (heads + 1) * (layers * (layers - 1) / 2) AS senders,
  CASE c.form WHEN 'split' THEN 3 * heads WHEN 'head' THEN heads ELSE 1 END AS inputs
SET c.n_graph_edges = (inputs + 1) * senders + layers * heads + 1 + (heads + 1) * layers;
