"""Queries that give some rows, and then nothing for a minute."""

SQL = {
    "postgres": "SELECT wait(i, 3) AS i, repeat('x', 9000) AS pad FROM generate_series(1, 100) i",
    "mysql": "SELECT seq AS i, repeat('x', 20000) AS pad, if(seq > 5, sleep(60), 0) FROM test.seq_1_to_100",
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    " SELECT i, hex(zeroblob(5000)) AS pad FROM n WHERE i < 5",
}
