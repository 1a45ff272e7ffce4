"""Typical queries, in the dialect of both engines; `$id` is the id of a circuit."""

from __future__ import annotations

HARMLESS = [
    "MATCH (c:Circuit) RETURN c.class, c.n_edges",
    "match (c:Circuit) return c.class, c.n_edges order by c.n_edges desc limit 3",
    "MATCH (c:Circuit) RETURN count(*)",
    "MATCH (c:Circuit) RETURN count(*);",
    "MATCH (c:Circuit) RETURN c.class AS class, count(*) AS n ORDER BY n DESC, class",
    "MATCH (c:Circuit) RETURN DISTINCT c.condition AS condition ORDER BY condition",
    "MATCH (c:Circuit {class: 'class-3'}) RETURN c.id, c.faithfulness",
    'MATCH (c:Circuit {class: "class-3"}) WHERE c.attack = "natural" RETURN c.id',
    "MATCH (c:Circuit) WHERE c.class = $class AND c.condition <> 'natural' RETURN c.id",
    "MATCH (c:Circuit) WHERE c.class IN ['class-1', 'class-2'] RETURN c.id",
    "MATCH (c:Circuit) WHERE c.condition STARTS WITH 'typo' AND NOT c.n_edges < 3 RETURN c.id",
    "MATCH (c:Circuit) WHERE c.condition CONTAINS 'other' OR c.condition ENDS WITH ')' RETURN c.id",
    "MATCH (c:Circuit) WHERE c.faithfulness IS NULL RETURN c.id",
    "MATCH (c:Circuit) WHERE c.faithfulness IS NOT NULL RETURN avg(c.faithfulness) AS mean",
    "MATCH (c:Circuit)-[:OF_CLASS]->(k:Class)-[:OF_DATASET]->(d:Dataset) RETURN d.name, k.name, count(*) AS n",
    "MATCH (c:Circuit)-[:OF_MODEL]->(m:Model) RETURN m.name, m.n_layers, m.n_heads, count(c) AS circuits",
    "MATCH (c:Circuit)-[:UNDER]->(k:Condition) RETURN k.key, k.attack, count(*) AS n",
    "MATCH (c:Circuit)-[:FOUND_BY]->(r:Recipe) RETURN r.method, r.metric, r.corruption, count(*) AS n",
    "MATCH (c:Circuit {id: $id})-[:HAS]->(n:Node) RETURN n.name, n.kind, n.layer, n.head ORDER BY n.name",
    "MATCH (c:Circuit {id: $id})-[:HAS]->(:Node)-[f:FEEDS]->(:Node) RETURN f.edge, f.rank ORDER BY f.rank LIMIT 5",
    "MATCH (:Circuit {id: $id})-[:HAS]->(s:Node)-[f:FEEDS {port: 'v'}]->(r:Node) RETURN s.name, r.name, f.score",
    "MATCH (:Circuit {id: $id})-[:HAS]->(:Node)-[f:FEEDS]->(:Node) RETURN sum(f.score) AS total, max(f.score) AS best",
    "MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node {name: 'logits'}) RETURN f.edge, count(*) AS n",
    "MATCH (c:Circuit)-[:HAS]->(:Node)-[f:FEEDS]->(:Node) WHERE f.edge = 'm0->logits' RETURN c.class, f.rank",
    "MATCH (:Circuit {id: $id})-[:HAS]->(:Node {name: 'input'})-[:FEEDS|CONTAINS*1..4]->(o:Node {name: 'logits'})\n"
    "RETURN count(*) AS paths",
    "MATCH (:Circuit {id: $id})-[:HAS]->(i:Node {name: 'input'})\n"
    "MATCH p = (i)-[:FEEDS|CONTAINS*1..4]->(:Node {name: 'logits'})\n"
    "RETURN length(p) AS steps, count(*) AS paths ORDER BY steps",
    "MATCH (c:Circuit) WHERE EXISTS { MATCH (c)-[:HAS]->(:Node {name: 'm1'}) } RETURN count(*) AS n",
    "MATCH (c:Circuit) WHERE NOT EXISTS { MATCH (c)-[:HAS]->(n:Node) WHERE n.kind = 'mlp' } RETURN c.id",
    "MATCH (c:Circuit) RETURN c.id, COUNT { MATCH (c)-[:HAS]->(:Node {kind: 'head'}) } AS heads ORDER BY heads DESC",
    "MATCH (c:Circuit) RETURN CASE WHEN c.attack = 'natural' THEN 'clean' ELSE 'attacked' END AS side, count(*) AS n",
    "MATCH (c:Circuit) RETURN CASE c.attack WHEN 'natural' THEN 0 ELSE 1 END AS attacked, count(*) AS n",
    "UNWIND ['class-1', 'class-2'] AS name MATCH (c:Circuit {class: name}) RETURN name, count(*) AS n",
    "MATCH (c:Circuit) WITH c.class AS class, avg(c.n_edges) AS mean WHERE mean > 5 RETURN class, mean",
    "MATCH (c:Circuit) WITH c ORDER BY c.n_edges DESC LIMIT 2 MATCH (c)-[:HAS]->(n:Node) RETURN c.id, count(n) AS n",
    "MATCH (c:Circuit) WHERE c.attack = 'natural' RETURN c.class AS class\n"
    "UNION\nMATCH (c:Circuit) WHERE c.attack <> 'natural' RETURN c.class AS class",
    "RETURN 1 AS one UNION ALL RETURN 2 AS one",
    "MATCH (n:Node) OPTIONAL MATCH (n)-[f:FEEDS]->(:Node) RETURN n.name, coalesce(sum(f.score), 0.0) AS out",
    "MATCH (a:Circuit), (b:Circuit) WHERE a.id < b.id AND a.class = b.class RETURN a.id, b.id SKIP 1 LIMIT 2",
    "MATCH (c:Circuit) WHERE c.n_nodes > 0\n"
    "RETURN c.class AS `the class`, 1.0 * c.n_edges / c.n_nodes AS `edges per node`",
    "MATCH (c:Circuit) RETURN collect(DISTINCT c.class) AS classes",
    "MATCH (n:Node) RETURN n.name AS `set`, abs(n.full_in) AS `create` ORDER BY `create` DESC LIMIT 1",
    "/* which classes? */ MATCH (c:Circuit) // all of them\nRETURN DISTINCT c.class",
    "MATCH (c:Circuit) WHERE c.class = 'DELETE' OR c.class = 'it\\'s; CREATE (n)' RETURN c.id",
    "MATCH (c:Circuit) WHERE c.class = 'Größe' RETURN c.id // für später",
    "MATCH (x:Node)-[:INSTANCE_OF]->(k:Component)-[:PART_OF]->(m:Model) RETURN k.name, count(*) AS n ORDER BY n DESC",
    "MATCH (c:Circuit) WHERE c.created_ms > 1700000000000 AND c.n_edges >= 2 XOR c.n_nodes = 1 RETURN c.id",
    "MATCH (c:Circuit) RETURN c.n_edges % 2 AS odd, c.n_edges ^ 2 AS square, -c.n_edges + 1 - 2 * 3 AS x, .5e-3",
    "MATCH (c:Circuit) RETURN toLower(c.class), round(c.faithfulness, 2), floor(1.5), size(c.class)",
]
