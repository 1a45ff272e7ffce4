// Notes of people, and what they are about. There were none before.

CREATE CONSTRAINT circuitstore_note IF NOT EXISTS FOR (n:Note) REQUIRE n.id IS UNIQUE;

RETURN 1;
