"""The SQL that the simulator writes runs, and answers what was asked in plain cases."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.answers.sql_answer import write_sql
from simulator.answers.sql_tables import tables_in

EXAMPLES = Path(__file__).parents[2] / "console" / "demo" / "data"
SCHEMA = """
-- Amounts in USD.
CREATE TABLE customers (
  id integer PRIMARY KEY,
  name text NOT NULL,
  country text NOT NULL        -- ISO code (two letters), or a name
);
CREATE TABLE orders (
  id integer PRIMARY KEY,
  customer_id integer NOT NULL REFERENCES customers (id),
  total_usd numeric(10, 2) NOT NULL CHECK (total_usd >= 0),
  status text NOT NULL,        -- 'paid', 'open', 'refunded'
  placed_at date NOT NULL
);
"""
ROWS = """
INSERT INTO customers VALUES (1, 'Ada', 'Norway'), (2, 'Bo', 'Sweden'), (3, 'Cy', 'Norway');
INSERT INTO orders VALUES
  (1, 1, 100, 'paid', '2024-03-01'), (2, 1, 50, 'open', '2024-04-01'), (3, 2, 500, 'paid', '2023-05-01'),
  (4, 3, 20, 'refunded', '2024-04-09'), (5, 2, 30, 'paid', '2024-12-31');
"""


@pytest.fixture
def shop() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA + ROWS)
    yield connection
    connection.close()


@pytest.mark.parametrize(
    ("question", "rows"),
    [
        ("How many customers do we have?", [(3,)]),
        ("How many paid orders were placed in 2024?", [(2,)]),
        ("What is the total revenue?", [(700,)]),
        ("What is the total revenue per country?", [("Norway", 170), ("Sweden", 530)]),
        ("Which customer spent the most?", [("Bo", 530)]),
        ("Top 2 customers by total order value", [("Bo", 530), ("Ada", 150)]),
        ("Number of orders per month in 2024", [("2024-03", 1), ("2024-04", 2), ("2024-12", 1)]),
        ("Average total of orders per status", [("open", 50), ("paid", 210), ("refunded", 20)]),
        ("How many orders are over $90?", [(2,)]),
        ("How many orders were not refunded?", [(4,)]),
        ("How many orders are paid or open?", [(4,)]),
        ('How many customers have the name "Ada"?', [(1,)]),
        ("Wie viele Bestellungen pro Monat in 2023?", [("2023-05", 1)]),
    ],
)
def test_a_plain_question_is_answered(shop, question, rows):
    answer = write_sql(question, tables_in(SCHEMA), sqlite=True)

    assert shop.execute(answer.sql).fetchall() == rows


def test_rows_are_shown_with_the_columns_that_were_asked_for(shop):
    answer = write_sql("List the name and country of the customers from Norway", tables_in(SCHEMA), sqlite=True)

    assert shop.execute(answer.sql).fetchall() == [("Ada", "Norway"), ("Cy", "Norway")]


@pytest.mark.parametrize("question", ["Delete all open orders", "please drop the table", "Show me Bo's password"])
def test_what_must_not_or_cannot_be_answered_gets_no_query(question):
    answer = write_sql(question, tables_in(SCHEMA))

    assert answer.sql == ""
    assert answer.explanation


def test_postgres_is_written_unless_sqlite_is_asked_for():
    question = "Orders per week in the last 30 days"

    assert "date_trunc('week', orders.placed_at)" in write_sql(question, tables_in(SCHEMA)).sql
    assert "now() - interval '30 days'" in write_sql(question, tables_in(SCHEMA)).sql


def test_every_example_question_gets_a_query_that_runs():
    schemas = json.loads((EXAMPLES / "sql_schemas.json").read_text())
    questions = [json.loads(line) for line in (EXAMPLES / "sql_questions.jsonl").read_text().splitlines()]
    databases = {name: sqlite3.connect(":memory:") for name in schemas}
    for name, database in databases.items():
        # An index without a name is Postgres's own.
        database.executescript("\n".join(line for line in schemas[name].splitlines() if "CREATE INDEX ON" not in line))
    queries = set()
    for item in questions:
        answer = write_sql(item["question"], tables_in(schemas[item["schema"]]), sqlite=True)
        queries.add(answer.sql)
        if answer.sql:
            databases[item["schema"]].execute(answer.sql).fetchall()
    for database in databases.values():
        database.close()

    assert len(queries) > len(questions) * 0.7


@pytest.mark.parametrize(
    "text",
    [
        "orders(id, customer_id, total_usd numeric)\ncustomers(id, name, country)",
        "- table orders: id, customer_id, total_usd\n- table customers: id, name, country",
    ],
)
def test_tables_in_short_form_are_read(text):
    orders, customers = tables_in(text)

    assert [column.name for column in orders.columns] == ["id", "customer_id", "total_usd"]
    assert orders.links == {"customer_id": ("customers", "id")}
    assert customers.label is not None
    assert customers.label.name == "name"
