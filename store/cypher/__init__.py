"""The queries that users may ask: texts that only read, that end, and that every engine answers alike."""
