#!/usr/bin/env bash
# SQLite finds the next page of a list by its key only if the tie-breaker is no INTEGER PRIMARY KEY, and
# then still reads every row that is equal to the last one in the columns that it compares.
#
# A list is paged by its last row: WHERE (day, state, id) > (…) ORDER BY day, state, id LIMIT 1, with an
# index on (day, state), in which the row's id stands last by itself. One expects one look into the
# index, and EXPLAIN QUERY PLAN says SEARCH. But the comparison of whole rows uses two of the three
# columns, begins at the first row that is equal in these, and throws away what is not behind the last
# row: page after page reads all that came before it. The same written out, day = … AND state = … AND
# id > …, is one look.
#
# A notification service pages through queues in which most rows are equal: one day, one state, one
# template. With 10,000 of them the next page costs thousands of times as much as it should, and a
# million is a scan of a million rows that no plan shows as one.
#
# Needs python3 with venv and pip. Counts steps of SQLite's own machine, no time. Exits with 1 if any of
# this behaves differently.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check apsw==3.50.4.0

cat >pages.py <<'PY'
import apsw

print("SQLite", apsw.sqlitelibversion())
db = apsw.Connection(":memory:")
db.execute("CREATE TABLE queue (id INTEGER PRIMARY KEY, day INTEGER NOT NULL, state TEXT NOT NULL)")
db.execute("CREATE INDEX queue_order ON queue (day, state)")
db.execute(
    "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 10000) "
    "INSERT INTO queue SELECT i, 1, 'waiting' FROM r"
)


def measured(name, where):
    sql = f"SELECT id FROM queue WHERE {where} ORDER BY day, state, id LIMIT 1"
    plan = [row[3] for row in db.execute("EXPLAIN QUERY PLAN " + sql)]
    steps = 0

    def step():
        nonlocal steps
        steps += 1
        return False

    db.set_progress_handler(step, 1)
    rows = list(db.execute(sql))
    db.set_progress_handler(None)
    print(f"{name}: {steps} steps, rows {rows}, {plan}")
    assert len(plan) == 1 and plan[0].startswith("SEARCH"), "a plan that says what it does"
    return steps, rows


whole, found = measured("as a row", "(day, state, id) > (1, 'waiting', 9990)")
out, same = measured("written out", "day = 1 AND state = 'waiting' AND id > 9990")
assert found == same == [(9991,)]
assert whole > 1000 * out, "the comparison as a row has become a look into the index"
past, nothing = measured("past all equal rows", "(day, state) > (1, 'waiting')")
simple, none = measured("the same, written out", "day = 1 AND state > 'waiting'")
assert nothing == none == []
assert past > 1000 * simple, "the rows that are equal are skipped now"
PY
venv/bin/python pages.py
